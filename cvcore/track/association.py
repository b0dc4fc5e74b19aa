"""Which detection continues which track: overlap, and the assignment that gains most."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

_TINY = 1e-300  # boxes without area overlap nothing

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
    x0, y0, x1, y1 = first.T[:, :, None]
    u0, v0, u1, v1 = second.T[:, None]
    width = np.minimum(x1, u1)
    width -= np.maximum(x0, u0)
    height = np.minimum(y1, v1)
    height -= np.maximum(y0, v0)
    common: Floats = np.maximum(width, 0.0, out=width)
    common *= np.maximum(height, 0.0, out=height)
    union = ((x1 - x0) * (y1 - y0) + (u1 - u0) * (v1 - v0)) - common
    common /= np.maximum(union, _TINY, out=union)
    return common


def associate(similarity: Floats, *, least: float) -> Matches:
    """Pair rows with columns, maximising the sum of what similarities exceed `least` by.

    A pair that does not exceed it is no pair, and costs no better one its place.

    Args:
        similarity: (N, M).
    """
    num_rows, num_columns = similarity.shape
    gain = similarity - least
    possible = gain > 0
    rows, columns = possible.nonzero()
    if len(rows) and (len(set(rows.tolist())) < len(rows) or len(set(columns.tolist())) < len(rows)):
        rows, columns = linear_sum_assignment(np.where(possible, gain, 0.0), maximize=True)
        real = possible[rows, columns]
        rows, columns = rows[real], columns[real]
    return Matches(rows, columns, _others(num_rows, rows), _others(num_columns, columns))


def _others(count: int, taken: Ints) -> Ints:
    free = np.ones(count, bool)
    free[taken] = False
    return free.nonzero()[0]
