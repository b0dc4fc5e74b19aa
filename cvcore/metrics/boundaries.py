"""Boundary F1 (Csurka et al. 2013, What is a Good Evaluation Measure for Semantic Segmentation?)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

TOLERANCE_SHARE = 0.0075
"""Of the image's diagonal."""

Map = npt.NDArray[np.integer]
Mask = npt.NDArray[np.bool_]


def boundary_f1(
    truth: Map, found: Map, num_classes: int, *, ignored: int, tolerance_px: float | None = None
) -> npt.NDArray[np.float64]:
    """How near the boundaries of each class are to the true ones, and back: (C,), 0 to 1.

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
    judged = truth != ignored
    scores = np.full(num_classes, np.nan)
    for label in np.union1d(np.unique(truth[judged]), np.unique(found[judged])).tolist():
        true, own = (boundary_pixels(each == label, judged) for each in (truth, found))
        if true.any() or own.any():
            scores[label] = _f1(true, own, tolerance_px)
    return scores


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


def _f1(true: Mask, found: Mask, tolerance_px: float) -> float:
    precision, recall = _near(found, true, tolerance_px), _near(true, found, tolerance_px)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _near(pixels: Mask, others: Mask, tolerance_px: float) -> float:
    """Share of pixels with one of the others within the tolerance; 0 without any of either."""
    if not pixels.any() or not others.any():
        return 0.0
    distances = ndimage.distance_transform_edt(~others)
    return float((distances[pixels] <= tolerance_px).mean())
