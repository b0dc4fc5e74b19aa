"""Boundary F1 (Csurka et al. 2013, What is a Good Evaluation Measure for Semantic Segmentation?)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import ndimage

TOLERANCE_SHARE = 0.0075
"""Of the image's diagonal."""

BLOCK_PX = 2048
"""Side of what is looked at at once; a distance takes 16 bytes a pixel meanwhile."""

Map = npt.NDArray[np.integer]
Mask = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
Window = tuple[slice, slice]


def boundary_f1(
    truth: Map, found: Map, num_classes: int, *, ignored: int, tolerance_px: float | None = None
) -> npt.NDArray[np.float64]:
    """How near the boundaries of each class are to the true ones, and back: (C,), 0 to 1.

    Large maps are looked at in blocks of `BLOCK_PX`, which changes no figure.

    Precision is the share of the found boundary's pixels that have a true one within the tolerance, recall
    that of the true boundary's that have a found one. NaN for a class without a boundary in either map; 0
    where only one of them has one.

    Args:
        truth, found: (H, W) class ids.
        num_classes: C.
        ignored: where the truth is this, nothing is judged, and nothing is a boundary.
        tolerance_px: Euclidean distance; None for 0.75 % of the diagonal.
    """
    if tolerance_px is None:
        tolerance_px = TOLERANCE_SHARE * math.hypot(*truth.shape)
    reach = math.ceil(tolerance_px)
    near = np.zeros((2, num_classes), np.int64)
    total = np.zeros((2, num_classes), np.int64)
    for block, window in blocks(*truth.shape, reach=reach):
        judged = truth[window] != ignored
        for label in np.union1d(np.unique(truth[window][judged]), np.unique(found[window][judged])).tolist():
            edges = [boundary_pixels(each[window] == label, judged) for each in (found, truth)]
            for k in (0, 1):
                near[k, label] += _num_near(edges[k][block], edges[1 - k], block, tolerance_px)
                total[k, label] += np.count_nonzero(edges[k][block])
    return _f1(near, total)


def blocks(height: int, width: int, *, reach: int) -> Iterator[tuple[Window, Window]]:
    """Cut a map so that distances up to `reach` are known in each piece.

    Yields:
        A block within its window, and the window within the map: the block and `reach` + 1 pixels around it,
        as far as the map goes. Blocks cover the map once.
    """
    margin = reach + 1  # a boundary is told from pixels beside it
    for top in range(0, height, BLOCK_PX):
        for left in range(0, width, BLOCK_PX):
            y0, x0 = max(0, top - margin), max(0, left - margin)
            window = (slice(y0, top + BLOCK_PX + margin), slice(x0, left + BLOCK_PX + margin))
            yield (
                (slice(top - y0, top - y0 + BLOCK_PX), slice(left - x0, left - x0 + BLOCK_PX)),
                window,
            )


def boundary_pixels(mask: Mask, judged: Mask) -> Mask:
    """The mask's pixels that have one beside, above or below them that is not the mask's, both judged."""
    other = judged & ~mask
    beside = np.zeros_like(mask)
    beside[1:] |= other[:-1]
    beside[:-1] |= other[1:]
    beside[:, 1:] |= other[:, :-1]
    beside[:, :-1] |= other[:, 1:]
    edge: Mask = mask & judged & beside
    return edge


def _num_near(pixels: Mask, others: Mask, block: Window, tolerance_px: float) -> int:
    """How many of a block's pixels have one of the window's others within the tolerance."""
    if not pixels.any() or not others.any():
        return 0
    distances = ndimage.distance_transform_edt(~others)[block]
    return int((distances[pixels] <= tolerance_px).sum())


def _f1(near: Counts, total: Counts) -> npt.NDArray[np.float64]:
    """Of (2, C) counts: precision's and recall's. NaN for a class that has no pixel in either."""
    precision, recall = near / np.maximum(total, 1)
    scores = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    found: npt.NDArray[np.float64] = np.where(total.any(axis=0), scores, np.nan)
    return found
