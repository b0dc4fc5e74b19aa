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
        per_class_ap, per_class_ap50: by category name.
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
        iou_type: whether boxes or masks are compared.

    Raises:
        ValueError: if a detection names an image that the ground truth does not have.
    """
    truth = _quiet_coco(ground_truth)
    known = set(truth.getImgIds())
    strangers = sorted({d["image_id"] for d in detections} - known)
    if strangers:
        raise ValueError(f"detections name images that the ground truth does not have: {strangers[:5]}")
    names = {c["id"]: str(c["name"]) for c in truth.loadCats(truth.getCatIds())}
    num_objects = sum(not a.get("iscrowd", 0) for a in truth.anns.values())
    if not detections:
        return _nothing_found(truth, names, len(known), num_objects)
    with contextlib.redirect_stdout(io.StringIO()):
        found = truth.loadRes([dict(d) for d in detections])
        evaluation = COCOeval(truth, found, iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = [_or_nan(float(value)) for value in evaluation.stats]
    # precision: (thresholds, recalls, classes, areas, limits); the last two: all areas, 100 detections.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    order = [names[category] for category in evaluation.params.catIds]
    return DetectionMetrics(
        ap=stats[0],
        ap50=stats[1],
        ap75=stats[2],
        ap_small=stats[3],
        ap_medium=stats[4],
        ap_large=stats[5],
        recall=stats[8],
        per_class_ap={name: _mean(precision[:, :, k]) for k, name in enumerate(order)},
        per_class_ap50={name: _mean(precision[0, :, k]) for k, name in enumerate(order)},
        num_images=len(known),
        num_objects=num_objects,
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


def _nothing_found(
    truth: COCO, names: Mapping[int, str], num_images: int, num_objects: int
) -> DetectionMetrics:
    """Zero for every class that has objects; pycocotools cannot load an empty list of results."""
    present = {a["category_id"] for a in truth.anns.values() if not a.get("iscrowd", 0)}
    per_class = {name: 0.0 if category in present else float("nan") for category, name in names.items()}
    value = 0.0 if present else float("nan")
    return DetectionMetrics(
        ap=value,
        ap50=value,
        ap75=value,
        ap_small=value,
        ap_medium=value,
        ap_large=value,
        recall=value,
        per_class_ap=per_class,
        per_class_ap50=dict(per_class),
        num_images=num_images,
        num_objects=num_objects,
    )


def _mean(precision: Any) -> float:
    """Mean of the entries that are defined; pycocotools marks the others -1."""
    defined = precision[precision > -1]
    return float(np.mean(defined)) if defined.size else float("nan")


def _or_nan(value: float) -> float:
    return value if value >= 0 else float("nan")
