"""Which detection continues which track: overlap, and the assignment that gains most."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Matches(NamedTuple):
    """Pairs by index, in the order of the rows, and what is left of both sides, ascending."""

    rows: Ints
    columns: Ints
    free_rows: Ints
    free_columns: Ints


def iou_matrix(first: Floats, second: Floats) -> Floats:
    """Intersection over union of boxes (N, 4) and (M, 4), xyxy: (N, M), 0 to 1."""
    first = first[:, None]
    corner = np.maximum(first[..., :2], second[:, :2])
    sides = np.minimum(first[..., 2:], second[:, 2:])
    sides -= corner
    np.maximum(sides, 0, out=sides)
    common = sides[..., 0] * sides[..., 1]
    of_first, of_second = first[..., 2:] - first[..., :2], second[:, 2:] - second[:, :2]
    union = (of_first[..., 0] * of_first[..., 1]) + of_second[:, 0] * of_second[:, 1] - common
    overlap: Floats = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return overlap


def associate(similarity: Floats, *, least: float) -> Matches:
    """Pair rows with columns, maximising the sum of what similarities exceed `least` by.

    A pair that does not exceed it is no pair, and costs no better one its place.

    Args:
        similarity: (N, M).
    """
    num_rows, num_columns = similarity.shape
    gain = similarity - least
    possible = gain > 0
    found = np.flatnonzero(possible)
    rows, columns = np.divmod(found, num_columns) if num_columns else (found, found)
    if len(rows) != len(set(rows.tolist())) or len(columns) != len(set(columns.tolist())):
        rows, columns = linear_sum_assignment(np.where(possible, gain, 0.0), maximize=True)
        real = possible[rows, columns]
        rows, columns = rows[real], columns[real]
    return Matches(rows, columns, _others(num_rows, rows), _others(num_columns, columns))


def _others(count: int, taken: Ints) -> Ints:
    free = np.ones(count, dtype=bool)
    free[taken] = False
    return np.flatnonzero(free)
