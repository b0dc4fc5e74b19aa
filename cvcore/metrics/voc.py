"""Pascal VOC's average precision (Everingham et al. 2010, International Journal of Computer Vision 88).

Boxes are edges here and whole pixels in VOC: x1 = xmin - 1, x2 = xmax. Widths, and so overlaps, are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cvcore.metrics.box_tables import Bools, BoxTables, FoundBoxes, Ints, TrueBoxes, overlaps_by_image
from cvcore.metrics.precision_recall import PrCurve, ap_11_points, ap_under_envelope, make_curve

MIN_IOU = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What each of N detections is.

    Attributes:
        correct: (N,) it is the first to find its object.
        ignored: (N,) it found a difficult object, or lies in a crowd of its class: it counts for nothing.
        taken_for: (N,) row of the true box of its class that it overlaps most, if by enough; else -1.
    """

    correct: Bools
    ignored: Bools
    taken_for: Ints

    @property
    def wrong(self) -> Bools:
        """(N,) false positives."""
        return ~(self.correct | self.ignored)


@dataclass(frozen=True, slots=True)
class VocMetrics:
    """Average precision at an IoU of 0.5, 0 to 1; NaN where there is nothing to find.

    Attributes:
        map07: mean over classes of the 11-point AP, as of VOC2007.
        map10: of the area under the envelope, as of VOC2010 and later.
        per_class_ap07, per_class_ap10: by label.
        num_objects: to be found; num_difficult: difficult ones, which do not count.
    """

    map07: float
    map10: float
    per_class_ap07: dict[str, float]
    per_class_ap10: dict[str, float]
    num_objects: int
    num_difficult: int


def judge(truth: TrueBoxes, found: FoundBoxes, *, min_iou: float = MIN_IOU) -> Judgement:
    """Decide on each detection, the best scores first (section 4.2 and the development kit's VOCevaldet).

    A detection stands for the object of its class that it overlaps most, if their IoU is `min_iou` or more;
    further ones of that object are wrong.
    """
    taken_for = np.full(len(found), -1, np.int64)
    in_crowd = np.zeros(len(found))
    for image in overlaps_by_image(truth, found):
        in_crowd[image.found_rows] = image.in_crowd
        if not len(image.true_rows):
            continue
        same = found.label_ids[image.found_rows][:, None] == truth.label_ids[image.true_rows][None]
        overlap = np.where(same, image.iou, -1.0)
        best = overlap.argmax(axis=1)
        enough = overlap[np.arange(len(best)), best] >= min_iou
        taken_for[image.found_rows[enough]] = image.true_rows[best[enough]]
    taken = taken_for >= 0
    ignored = np.where(taken, truth.difficult[taken_for] if len(truth) else False, in_crowd >= min_iou)
    order = found.by_score()
    order = order[taken[order] & ~ignored[order]]
    _, first = np.unique(taken_for[order], return_index=True)
    correct = np.zeros(len(found), bool)
    correct[order[first]] = True
    return Judgement(correct, ignored.astype(bool), taken_for)


def class_curves(tables: BoxTables, judgement: Judgement) -> dict[str, PrCurve]:
    """Precision over recall of each label."""
    counts, found = tables.truth.counts, tables.found
    curves = {}
    for k, label in enumerate(tables.labels):
        chosen = (found.label_ids == k) & ~judgement.ignored
        num_objects = int((counts & (tables.truth.label_ids == k)).sum())
        curves[label] = make_curve(found.scores[chosen], judgement.correct[chosen], num_objects)
    return curves


def voc_metrics(tables: BoxTables, curves: dict[str, PrCurve]) -> VocMetrics:
    """VOC's figures of `class_curves`."""
    ap07 = {label: ap_11_points(curve) for label, curve in curves.items()}
    ap10 = {label: ap_under_envelope(curve) for label, curve in curves.items()}
    return VocMetrics(
        map07=_mean_known(ap07),
        map10=_mean_known(ap10),
        per_class_ap07=ap07,
        per_class_ap10=ap10,
        num_objects=int(tables.truth.counts.sum()),
        num_difficult=int(tables.truth.difficult.sum()),
    )


def _mean_known(values: dict[str, float]) -> float:
    known = [value for value in values.values() if value == value]
    return float(np.mean(known)) if known else float("nan")
