"""How well maps of classes agree with the truth: one confusion matrix of all pixels, and boundaries."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cvcore.metrics.boundaries import boundary_f1

IGNORED = 255
"""The value of truth whose pixels are not judged."""

BAND_PIXELS = 2**22
"""How many are counted at once: each takes tens of bytes meanwhile."""

Map = npt.NDArray[np.integer]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SegmentationMetrics:
    """Of all images together; shares from 0 to 1, NaN where nothing says.

    Means run over the classes that say something: of accuracy those in the truth, of the others those in
    the truth or in what was found.

    Attributes:
        pixel_accuracy: share of pixels whose class is right.
        mean_accuracy: mean over classes of the share of their pixels that were found.
        mean_iou: mean over classes of intersection over union.
        weighted_iou: the same, weighted by the classes' frequency in the truth.
        mean_dice: mean over classes of twice the intersection over the sum of areas.
        boundary_f1: mean over classes of the mean over images; see `boundary_f1`.
        class_iou, class_dice, class_boundary_f1: one a class.
        num_pixels: that were judged.
    """

    pixel_accuracy: float
    mean_accuracy: float
    mean_iou: float
    weighted_iou: float
    mean_dice: float
    boundary_f1: float
    class_iou: tuple[float, ...]
    class_dice: tuple[float, ...]
    class_boundary_f1: tuple[float, ...]
    num_pixels: int

    @property
    def pixel_error(self) -> float:
        return 1 - self.pixel_accuracy


class SegmentationScores:
    """Adds up images, one after another; memory does not grow with their number."""

    def __init__(self, num_classes: int, *, tolerance_px: float | None = None) -> None:
        """`tolerance_px` is of boundaries, None for 0.75 % of each image's diagonal."""
        self.counts: Counts = np.zeros((num_classes, num_classes), np.int64)
        self._tolerance_px = tolerance_px
        self._boundary_sums = np.zeros(num_classes)
        self._boundary_counts = np.zeros(num_classes, np.int64)

    def add(self, truth: Map, found: Map) -> Counts:
        """Add an image: (H, W) class ids each. Returns its own confusion matrix.

        Raises:
            ValueError: for maps that differ in size, or class ids that are not of the classes.
        """
        own = confusion_matrix(truth, found, len(self.counts))
        self.counts += own
        scores = boundary_f1(truth, found, len(self.counts), ignored=IGNORED, tolerance_px=self._tolerance_px)
        known = ~np.isnan(scores)
        self._boundary_sums[known] += scores[known]
        self._boundary_counts += known
        return own

    def result(self) -> SegmentationMetrics:
        """What the images so far say."""
        counts = self.counts.astype(float)
        right, truth, found = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
        iou = class_ious(self.counts)
        with np.errstate(divide="ignore", invalid="ignore"):
            accuracy = right / truth
            dice = 2 * right / (truth + found)
            boundaries = self._boundary_sums / self._boundary_counts
            total = counts.sum()
            frequency = truth / total
        return SegmentationMetrics(
            pixel_accuracy=float(right.sum() / total) if total else float("nan"),
            mean_accuracy=_mean(accuracy),
            mean_iou=_mean(iou),
            weighted_iou=float(np.nansum(frequency * iou)) if total else float("nan"),
            mean_dice=_mean(dice),
            boundary_f1=_mean(boundaries),
            class_iou=tuple(iou.tolist()),
            class_dice=tuple(dice.tolist()),
            class_boundary_f1=tuple(boundaries.tolist()),
            num_pixels=int(total),
        )


def confusion_matrix(truth: Map, found: Map, num_classes: int) -> Counts:
    """Pixels by their true class (rows) and the one that was found (columns): (C, C).

    Raises:
        ValueError: for maps that differ in size, or class ids that are not of the classes.
    """
    if truth.shape != found.shape:
        raise ValueError(f"maps must have one size, got {truth.shape} of truth and {found.shape} found")
    counts = np.zeros(num_classes**2, np.int64)
    step = max(1, BAND_PIXELS // max(1, truth.shape[1]))
    for first in range(0, len(truth), step):
        own, guess = truth[first : first + step], found[first : first + step]
        judged = own != IGNORED
        rows, columns = own[judged].astype(np.int64), guess[judged].astype(np.int64)
        for name, ids in (("truth", rows), ("found", columns)):
            if ids.size and not 0 <= ids.min() <= ids.max() < num_classes:
                raise ValueError(
                    f"class ids of {name} must be 0 to {num_classes - 1}, got {_strange(ids, num_classes)}"
                )
        counts += np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def class_ious(counts: Counts) -> npt.NDArray[np.float64]:
    """Intersection over union of each class, (C,), of a confusion matrix; NaN for a class that is nowhere."""
    right = np.diag(counts).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        ious: npt.NDArray[np.float64] = right / (counts.sum(axis=1) + counts.sum(axis=0) - right)
    return ious


def mean_iou(counts: Counts) -> float:
    """The mean of `class_ious` over the classes that are somewhere; NaN of no pixel."""
    return _mean(class_ious(counts))


def evaluate_maps(
    pairs: Sequence[tuple[Map, Map]], num_classes: int, *, tolerance_px: float | None = None
) -> SegmentationMetrics:
    """Metrics of (truth, found) maps."""
    scores = SegmentationScores(num_classes, tolerance_px=tolerance_px)
    for truth, found in pairs:
        scores.add(truth, found)
    return scores.result()


def _strange(ids: Counts, num_classes: int) -> list[int]:
    return [int(each) for each in np.unique(ids) if not 0 <= each < num_classes][:5]


def _mean(values: npt.NDArray[np.float64]) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(np.nanmean(values))
