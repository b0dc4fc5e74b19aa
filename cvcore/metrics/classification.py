"""Figures of classifiers and localisers; those of classes are scikit-learn's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

TOP = 5
LOCALIZED_IOU = 0.5


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """Of one class, 0 to 1.

    Attributes:
        precision: share of the images said to be of it that are; 0 where none is said to be.
        recall: share of its images that are said to be of it; 0 where it has none.
        f1: their harmonic mean.
        support: its images.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class ClassificationMetrics:
    """How well classes are told, 0 to 1.

    Attributes:
        top1, top5: share of images whose class is the likeliest, and among the five likeliest (of fewer
            classes, all).
        per_class: in the order of the labels.
        confusion: images by their class (row) and by what was said (column), in the order of the labels.
        num_images: those that count.
        localization_error: share of images whose class is not told, or whose box has an IoU of less than 0.5
            (ILSVRC's top-1 localisation error); None where no boxes are given.
    """

    top1: float
    top5: float
    per_class: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, ...], ...]
    num_images: int
    localization_error: float | None = None

    @property
    def score(self) -> float:
        """What picks the best epoch: top-1 accuracy, of localisers with the box."""
        return self.top1 if self.localization_error is None else 1 - self.localization_error


def classification_metrics(
    ranked: npt.NDArray[np.int64],
    truth: npt.NDArray[np.int64],
    labels: Sequence[str],
    *,
    overlaps: npt.NDArray[np.float64] | None = None,
) -> ClassificationMetrics:
    """Compare what was said with what is true.

    Args:
        ranked: (N, k) the likeliest classes of each image, best first; of at least `TOP` classes `TOP`.
        truth: (N,) the true ones.
        labels: names of all classes.
        overlaps: (N,) IoU of each image's box with the true one, of localisers.

    Raises:
        ValueError: for no images.
    """
    if not len(truth):
        raise ValueError("there are no images to measure on")
    told, ids = ranked[:, 0], np.arange(len(labels))
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, told, labels=ids, zero_division=0.0
    )
    figures = zip(labels, precision.tolist(), recall.tolist(), f1.tolist(), support.tolist(), strict=True)
    correct = told == truth
    error = None if overlaps is None else 1 - float((correct & (overlaps >= LOCALIZED_IOU)).mean())
    return ClassificationMetrics(
        top1=float(correct.mean()),
        top5=float((ranked[:, :TOP] == truth[:, None]).any(axis=1).mean()),
        per_class=tuple(ClassFigures(*row) for row in figures),
        confusion=tuple(tuple(row) for row in confusion_matrix(truth, told, labels=ids).tolist()),
        num_images=len(truth),
        localization_error=error,
    )
