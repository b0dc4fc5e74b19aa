"""COCO's average precision, computed by pycocotools."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

IouType = Literal["bbox", "segm"]


@dataclass(frozen=True, slots=True)
class DetectionMetrics:
    """Average precision, 0 to 1; NaN where there is nothing to find.

    Attributes:
        ap: mean over IoU thresholds 0.50, 0.55 ... 0.95 and classes: COCO's primary metric.
        ap50, ap75: mean over classes at one threshold.
        ap_small, ap_medium, ap_large: `ap` of objects below 32², between, and above 96² pixels of area.
        recall: mean over classes and thresholds of the recall with at most 100 detections an image.
        per_class_ap, per_class_ap50, per_class_ap75: by category name.
        per_class_ap_small, per_class_ap_medium, per_class_ap_large: `ap` by size, likewise.
        num_images, num_objects: of the ground truth, crowds apart.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    recall: float
    per_class_ap: dict[str, float]
    per_class_ap50: dict[str, float]
    per_class_ap75: dict[str, float]
    per_class_ap_small: dict[str, float]
    per_class_ap_medium: dict[str, float]
    per_class_ap_large: dict[str, float]
    num_images: int
    num_objects: int


def evaluate_detections(
    ground_truth: Mapping[str, Any] | Path,
    detections: Sequence[Mapping[str, Any]],
    *,
    iou_type: IouType = "bbox",
) -> DetectionMetrics:
    """Compare detections with ground truth as COCO does.

    Args:
        ground_truth: a COCO instances document, or the path of its JSON. It is not changed.
        detections: COCO results: `image_id`, `category_id`, `score`, and `bbox` (xywh, pixels) or
            `segmentation` (RLE). None at all is allowed.
        iou_type: whether boxes or masks are compared. Of masks, the area decides on the size, not the box's.

    Raises:
        ValueError: if a detection names an image that the ground truth does not have.
    """
    truth = _quiet_coco(ground_truth)
    known = set(truth.getImgIds())
    strangers = sorted({d["image_id"] for d in detections} - known)
    if strangers:
        raise ValueError(f"detections name images that the ground truth does not have: {strangers[:5]}")
    names = {c["id"]: str(c["name"]) for c in truth.loadCats(truth.getCatIds())}
    with contextlib.redirect_stdout(io.StringIO()):
        found = (
            truth.loadRes([_result(d, iou_type) for d in detections]) if detections else _no_results(truth)
        )
        evaluation = COCOeval(truth, found, iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = [_or_nan(float(value)) for value in evaluation.stats]
    # (thresholds, recalls, classes, areas), at most 100 detections an image.
    precision = evaluation.eval["precision"][..., -1]
    order = [names[category] for category in evaluation.params.catIds]

    def by_class(threshold: slice, area: int) -> dict[str, float]:
        return {name: _mean(precision[threshold, :, k, area]) for k, name in enumerate(order)}

    every = slice(None)
    return DetectionMetrics(
        ap=stats[0],
        ap50=stats[1],
        ap75=stats[2],
        ap_small=stats[3],
        ap_medium=stats[4],
        ap_large=stats[5],
        recall=stats[8],
        per_class_ap=by_class(every, 0),
        per_class_ap50=by_class(slice(0, 1), 0),
        per_class_ap75=by_class(slice(5, 6), 0),
        per_class_ap_small=by_class(every, 1),
        per_class_ap_medium=by_class(every, 2),
        per_class_ap_large=by_class(every, 3),
        num_images=len(known),
        num_objects=sum(not a.get("iscrowd", 0) for a in truth.anns.values()),
    )


def _quiet_coco(ground_truth: Mapping[str, Any] | Path) -> COCO:
    """pycocotools' index over a document; it writes into what it is given, hence the copy."""
    document = json.loads(ground_truth.read_bytes()) if isinstance(ground_truth, Path) else ground_truth
    coco = COCO()
    coco.dataset = copy.deepcopy(dict(document))
    coco.dataset.setdefault("info", {})
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _result(detection: Mapping[str, Any], iou_type: IouType) -> dict[str, Any]:
    """A copy, as pycocotools writes into it; where there is a box, it takes that one's area."""
    return {k: v for k, v in detection.items() if iou_type == "bbox" or k != "bbox"}


def _no_results(truth: COCO) -> COCO:
    """An index without results; `loadRes` takes no empty list."""
    found = COCO()
    found.dataset = {**truth.dataset, "annotations": []}
    found.createIndex()
    return found


def _mean(precision: Any) -> float:
    """Mean of the entries that are defined; pycocotools marks the others -1."""
    defined = precision[precision > -1]
    return float(np.mean(defined)) if defined.size else float("nan")


def _or_nan(value: float) -> float:
    return value if value >= 0 else float("nan")
