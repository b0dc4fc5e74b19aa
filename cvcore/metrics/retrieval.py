"""How well a ranking finds what belongs together: precision and recall at k, and mean average precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class RetrievalMetrics:
    """Means over queries that have something to find.

    Attributes:
        k: how many answers were looked at.
        precision: the share of the first k answers that are relevant.
        recall: the share of what is relevant that is among them.
        mean_average_precision: over whole rankings, not only the first k.
        num_queries: that have something to find.
    """

    k: int
    precision: float
    recall: float
    mean_average_precision: float
    num_queries: int


def evaluate_ranking(relevant: npt.NDArray[np.bool_], k: int) -> RetrievalMetrics:
    """Of whole rankings.

    Args:
        relevant: (Q, N), whether each answer of each query is relevant, best first; all of a query's relevant
            items are somewhere in its row.
        k: above 0.

    Raises:
        ValueError: if no query has anything to find.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    wanted = relevant.sum(axis=1)
    rows = relevant[wanted > 0]
    if not len(rows):
        raise ValueError("no query has anything to find: labels must repeat")
    wanted = wanted[wanted > 0]
    found = np.cumsum(rows, axis=1)
    precisions = found / np.arange(1, rows.shape[1] + 1)
    average = (precisions * rows).sum(axis=1) / wanted
    last = min(k, rows.shape[1]) - 1
    return RetrievalMetrics(
        k=k,
        precision=float((found[:, last] / k).mean()),
        recall=float((found[:, last] / wanted).mean()),
        mean_average_precision=float(average.mean()),
        num_queries=len(rows),
    )
