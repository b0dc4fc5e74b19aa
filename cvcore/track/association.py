"""Which detection continues which track: overlap, and the assignment that gains most.

Inside of trackers a box is its reach: how far it goes to the left, up, right and down of the origin, that is
-x0, -y0, x1, y1. What two boxes have in common then reaches as far as the one that reaches less, and sides
are sums; reaches lie in rows, (4, N).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Constants are arrays, as NumPy takes longer with numbers.
NONE = np.array(-1)  # the index of nothing
_TINY = np.array(1e-300)  # boxes without area overlap nothing
_ZERO = np.array(0.0)
_SIGNS = np.diag([-1.0, -1.0, 1.0, 1.0])


def reaches_of(boxes: Floats) -> Floats:
    """Boxes (N, 4), xyxy, as reaches: (4, N)."""
    reaches: Floats = _SIGNS.dot(boxes.T)
    return reaches


def overlaps(first: Floats, second: Floats) -> Floats:
    """Intersection over union of reaches (4, N) and (4, M): (N, M), 0 to 1."""
    common = np.minimum(first[:, :, None], second[:, None])
    sides = common[:2]
    sides += common[2:]
    np.maximum(sides, _ZERO, out=sides)
    iou: Floats = sides[0]
    iou *= sides[1]
    union = _areas(first)[:, None] + (_areas(second) + _TINY)
    union -= iou
    iou /= union
    return iou


def iou_matrix(first: Floats, second: Floats) -> Floats:
    """Intersection over union of boxes (N, 4) and (M, 4), xyxy: (N, M), 0 to 1."""
    return overlaps(reaches_of(first), reaches_of(second))


def gains(similarity: Floats, least: Floats) -> Floats:
    """By how much similarities, (N, M), exceed the `least` that a pair needs; 0 where they do not."""
    gain: Floats = similarity - least
    np.maximum(gain, _ZERO, out=gain)
    return gain


def associate(gain: Floats) -> tuple[Ints, Ints]:
    """Pair rows with columns, each at most once, so that the sum of their gains is the largest.

    A pair that gains nothing is no pair, and costs no better one its place.

    Args:
        gain: (N, M), 0 or more.

    Returns:
        (N,) the column of each row, and (M,) the row of each column; -1 for none.
    """
    num_rows, num_columns = gain.shape
    column_of, row_of = np.empty(num_rows, np.int64), np.empty(num_columns, np.int64)
    column_of.fill(NONE)
    row_of.fill(NONE)
    if num_rows and num_columns:
        rows, columns = linear_sum_assignment(gain, True)
        real = gain[rows, columns].nonzero()[0]
        if len(real) < len(rows):
            rows, columns = rows.take(real), columns.take(real)
        column_of.put(rows, columns)
        row_of.put(columns, rows)
    return column_of, row_of


def _areas(reaches: Floats) -> Floats:
    sides = reaches[:2] + reaches[2:]
    areas: Floats = sides[0] * sides[1]
    return areas
