"""All that is measured of detections on a dataset, in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cvcore.metrics.box_tables import make_tables
from cvcore.metrics.confusion import ConfusionMatrix, confusion_matrix
from cvcore.metrics.detection import DetectionMetrics, evaluate_detections
from cvcore.metrics.detection_errors import DetectionErrors, detection_errors
from cvcore.metrics.mask_quality import MaskQuality, assess_masks
from cvcore.metrics.precision_recall import OperatingPoint, PrPoint, best_f1, curve_points
from cvcore.metrics.voc import VocMetrics, class_curves, judge, voc_metrics


@dataclass(frozen=True, slots=True)
class DetectionQuality:
    """How good detections are.

    Attributes:
        metrics: COCO's, to which VOC's difficult objects are objects like others.
        voc: Pascal VOC's, to which they are not.
        curves: precision over recall of each label, at an IoU of 0.5.
        best_f1: of each label, its best threshold; None where nothing right was found.
        num_objects: of each label, difficult ones and crowds apart.
        confusion: which classes are taken for which.
        errors: the kinds of errors, and the worst.
        masks: of results with masks; None of others.
    """

    metrics: DetectionMetrics
    voc: VocMetrics
    curves: dict[str, tuple[PrPoint, ...]]
    best_f1: dict[str, OperatingPoint | None]
    num_objects: dict[str, int]
    confusion: ConfusionMatrix
    errors: DetectionErrors
    masks: MaskQuality | None = None


def assess_detections(
    document: Mapping[str, Any], results: Sequence[Mapping[str, Any]], *, min_score: float
) -> DetectionQuality:
    """Measure COCO results against a COCO instances document.

    Args:
        document: the truth; `difficult` may stand in its annotations.
        results: of every score that matters to average precision.
        min_score: of what counts as found in `confusion` and `errors`.

    Raises:
        ValueError: if a result names an image that the document does not have.
    """
    metrics = evaluate_detections(document, results)
    with_masks = any("segmentation" in result for result in results)
    tables = make_tables(document, results)
    judgement = judge(tables.truth, tables.found)
    curves = class_curves(tables, judgement)
    return DetectionQuality(
        metrics=metrics,
        voc=voc_metrics(tables, curves),
        curves={label: curve_points(curve) for label, curve in curves.items()},
        best_f1={label: best_f1(curve) for label, curve in curves.items()},
        num_objects={label: curve.num_objects for label, curve in curves.items()},
        confusion=confusion_matrix(tables, min_score=min_score),
        errors=detection_errors(tables, judgement, min_score=min_score),
        masks=assess_masks(document, results) if with_masks else None,
    )
