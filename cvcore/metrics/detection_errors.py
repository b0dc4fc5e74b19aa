"""Why detections are wrong, and what was missed.

Kinds and thresholds are TIDE's (Bolya et al. 2020, arXiv:2008.08115, section 2.2), which refine those of
Hoiem et al. 2012, Diagnosing Error in Object Detectors.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from cvcore.metrics.box_tables import Bools, BoxTables, Floats, ImageOverlaps, Ints, overlaps_by_image
from cvcore.metrics.voc import MIN_IOU, Judgement

BACKGROUND_IOU = 0.1
"""Below, a detection has nothing to do with an object."""

ErrorKind = Literal["classification", "localisation", "both", "duplicate", "background"]
ERROR_KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)


@dataclass(frozen=True, slots=True)
class FalsePositive:
    """A wrong detection.

    Attributes:
        image_id: of the dataset's document.
        box, label, score: what was found; xyxy, pixels.
        kind: `classification`: well placed (IoU of 0.5 or more) on an object of another class;
            `localisation`: on one of its class, badly (0.1 to 0.5); `both`: badly on one of another class;
            `duplicate`: of an object that a better detection found; `background`: on nothing.
        iou: with the object that it overlaps most.
        true_box, true_label: of that object; None on the background.
    """

    image_id: int
    box: tuple[float, float, float, float]
    label: str
    score: float
    kind: ErrorKind
    iou: float
    true_box: tuple[float, float, float, float] | None
    true_label: str | None


@dataclass(frozen=True, slots=True)
class Miss:
    """An object that no detection of its class found; `box` is xyxy, pixels."""

    image_id: int
    box: tuple[float, float, float, float]
    label: str


@dataclass(frozen=True, slots=True)
class DetectionErrors:
    """Errors among detections of at least `min_score`.

    Attributes:
        counts: false positives of each kind.
        num_missed: objects that were not found.
        worst: false positives with the highest scores.
        misses: the largest objects that were missed.
    """

    min_score: float
    counts: dict[ErrorKind, int]
    num_missed: int
    worst: tuple[FalsePositive, ...]
    misses: tuple[Miss, ...]


def detection_errors(
    tables: BoxTables, judgement: Judgement, *, min_score: float, num_shown: int = 24
) -> DetectionErrors:
    """Sort false positives by kind, and pick the worst errors.

    The object that a detection overlaps most decides its kind; of several alike, one of its class.

    Args:
        tables: truth and detections.
        judgement: of the detections.
        min_score: what counts as detected.
        num_shown: at most so many of `worst`, and of `misses`.
    """
    truth, found = tables.truth, tables.found
    chosen = judgement.wrong & (found.scores >= min_score) & (found.label_ids >= 0)
    iou, nearest = _nearest(tables)
    kinds: dict[int, ErrorKind] = {}
    for row in np.flatnonzero(chosen).tolist():
        same = nearest[row] >= 0 and truth.label_ids[nearest[row]] == found.label_ids[row]
        kinds[row] = _kind(float(iou[row]), is_same_class=bool(same))
    order = [row for row in found.by_score().tolist() if row in kinds][:num_shown]
    missed = _missed(tables, judgement, found.scores >= min_score)
    areas = (truth.boxes[missed, 2:] - truth.boxes[missed, :2]).prod(axis=1)
    largest = missed[np.argsort(-areas, kind="stable")][:num_shown]
    counts = Counter(kinds.values())
    return DetectionErrors(
        min_score,
        {kind: counts[kind] for kind in ERROR_KINDS},
        len(missed),
        tuple(_false_positive(tables, row, kinds[row], float(iou[row]), int(nearest[row])) for row in order),
        tuple(
            Miss(int(truth.image_ids[row]), _box(truth.boxes[row]), tables.labels[truth.label_ids[row]])
            for row in largest.tolist()
        ),
    )


def _kind(iou: float, *, is_same_class: bool) -> ErrorKind:
    if iou < BACKGROUND_IOU:
        return "background"
    if iou < MIN_IOU:
        return "localisation" if is_same_class else "both"
    return "duplicate" if is_same_class else "classification"


def _nearest(tables: BoxTables) -> tuple[Floats, Ints]:
    """The IoU of each detection with the true box that it overlaps most, and that one's row; -1 for none."""
    iou, nearest = np.zeros(len(tables.found)), np.full(len(tables.found), -1, np.int64)
    for image in overlaps_by_image(tables.truth, tables.found):
        if len(image.true_rows):
            best = _best(tables, image)
            iou[image.found_rows] = image.iou[np.arange(len(best)), best]
            nearest[image.found_rows] = image.true_rows[best]
    return iou, nearest


def _best(tables: BoxTables, image: ImageOverlaps) -> Ints:
    own, true = tables.found.label_ids[image.found_rows], tables.truth.label_ids[image.true_rows]
    same = own[:, None] == true[None]
    at_most = image.iou.max(axis=1, keepdims=True)
    # The largest is 1 or 2, others 0: the class decides among equals.
    best: Ints = np.where(image.iou == at_most, 1 + same, 0).argmax(axis=1)
    return best


def _missed(tables: BoxTables, judgement: Judgement, is_kept: Bools) -> Ints:
    """Rows of objects that no kept detection found."""
    seen = np.zeros(len(tables.truth), bool)
    seen[judgement.taken_for[judgement.correct & is_kept]] = True
    return np.flatnonzero(tables.truth.counts & ~seen)


def _false_positive(tables: BoxTables, row: int, kind: ErrorKind, iou: float, nearest: int) -> FalsePositive:
    found, truth = tables.found, tables.truth
    has_object = kind != "background"
    return FalsePositive(
        int(found.image_ids[row]),
        _box(found.boxes[row]),
        tables.labels[found.label_ids[row]],
        float(found.scores[row]),
        kind,
        iou,
        _box(truth.boxes[nearest]) if has_object else None,
        tables.labels[truth.label_ids[nearest]] if has_object else None,
    )


def _box(row: Floats) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = row.tolist()
    return x1, y1, x2, y2
