"""Which classes are taken for which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cvcore.metrics.box_tables import (
    Bools,
    BoxTables,
    FoundBoxes,
    ImageOverlaps,
    TrueBoxes,
    overlaps_by_image,
)
from cvcore.metrics.voc import MIN_IOU


@dataclass(frozen=True, slots=True)
class ConfusionMatrix:
    """Counts of boxes.

    Attributes:
        labels: L names.
        counts: L + 1 rows of L + 1: a row a true class, the last one the background; a column a found class,
            the last one for objects that were missed. The last entry of all is 0.
        min_score, min_iou: what counted as found.
    """

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    min_score: float
    min_iou: float


def confusion_matrix(tables: BoxTables, *, min_score: float, min_iou: float = MIN_IOU) -> ConfusionMatrix:
    """Pair detections with objects of any class, and count the pairs by their classes.

    In each image the best score chooses first: the object that it overlaps most among those left, if their
    IoU is `min_iou` or more. What is left of detections is background, what is left of objects is missed.
    Difficult objects and crowds count nowhere, nor do detections that find only them.
    """
    truth, found = tables.truth, tables.found
    size = len(tables.labels)
    counts = np.zeros((size + 1, size + 1), np.int64)
    missed = truth.counts.copy()
    for image in overlaps_by_image(truth, found):
        for found_row, true_row in _pairs(image, truth, found, min_score, min_iou):
            if true_row is None:
                counts[size, found.label_ids[found_row]] += 1
            else:
                missed[true_row] = False
                counts[truth.label_ids[true_row], found.label_ids[found_row]] += 1
    counts[:size, size] = np.bincount(truth.label_ids[missed], minlength=size)
    return ConfusionMatrix(tables.labels, tuple(tuple(row) for row in counts.tolist()), min_score, min_iou)


def _pairs(
    image: ImageOverlaps, truth: TrueBoxes, found: FoundBoxes, min_score: float, min_iou: float
) -> list[tuple[int, int | None]]:
    """Rows of detections, each with that of its object, or None for background."""
    pairs: list[tuple[int, int | None]] = []
    counts = truth.counts[image.true_rows]
    free = counts.copy()
    scores = found.scores[image.found_rows]
    for k in np.argsort(-scores, kind="stable").tolist():
        row = int(image.found_rows[k])
        if scores[k] < min_score or found.label_ids[row] < 0:
            continue
        open_iou = np.where(free, image.iou[k], -1.0)
        best = int(open_iou.argmax()) if len(open_iou) else -1
        if best >= 0 and open_iou[best] >= min_iou:
            free[best] = False
            pairs.append((row, int(image.true_rows[best])))
        elif not _is_ignored(image, k, truth.difficult[image.true_rows], min_iou):
            pairs.append((row, None))
    return pairs


def _is_ignored(image: ImageOverlaps, k: int, difficult: Bools, min_iou: float) -> bool:
    """Whether the image's k-th detection lies on a difficult object of any class or in a crowd of its own."""
    return bool(image.in_crowd[k] >= min_iou or image.iou[k][difficult].max(initial=0.0) >= min_iou)
