"""COCO's average precision of instance masks, where the ground truth has one for every object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cvcore.metrics.detection import DetectionMetrics, evaluate_detections
from cvcore.ops.masks import segmentation_rle


@dataclass(frozen=True, slots=True)
class MaskQuality:
    """How good masks are.

    Attributes:
        metrics: COCO's; None where they cannot be compared.
        why_not: the reason; empty where there are metrics.
    """

    metrics: DetectionMetrics | None
    why_not: str = ""


def assess_masks(document: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> MaskQuality:
    """Measure COCO results with masks against a COCO instances document.

    Args:
        document: the truth, whose segmentations may be of any of COCO's forms.
        results: with a `segmentation` (RLE) each.

    Raises:
        ValueError: if a result names an image that the document does not have.
    """
    sizes = {image["id"]: (image.get("height"), image.get("width")) for image in document["images"]}
    drawn, bad = [], ""
    for annotation in document["annotations"]:
        height, width = sizes.get(annotation["image_id"], (None, None))
        try:
            if not isinstance(height, int) or not isinstance(width, int):
                raise ValueError("its image's height and width are not stated")
            rle = segmentation_rle(annotation.get("segmentation") or (), height=height, width=width)
        except ValueError as error:
            bad = bad or f"annotation {annotation.get('id')}: {error}"
            continue
        drawn.append({**annotation, "segmentation": rle})
    missing = len(document["annotations"]) - len(drawn)
    if missing:
        of = f"{missing:,} of the {len(document['annotations']):,} objects have no usable mask in the truth"
        return MaskQuality(None, f"{of} ({bad})")
    return MaskQuality(evaluate_detections({**document, "annotations": drawn}, results, iou_type="segm"))
