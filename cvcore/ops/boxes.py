"""Boxes: conversions, overlap, and the one class-wise non-maximum suppression."""

from __future__ import annotations

import torch
from torch import Tensor

from cvcore.ops.nms import class_wise_nms
from cvcore.types import Detections, DetectOptions


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """(N, 4) centre-and-size boxes to corners."""
    centres, halves = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centres - halves, centres + halves], dim=-1)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """(N, 4) corner boxes to centre and size."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def select_detections(boxes: Tensor, class_scores: Tensor, options: DetectOptions) -> Detections:
    """Threshold, suppress class by class, and keep the best of one image.

    Args:
        boxes: (N, 4) float, xyxy, pixels.
        class_scores: (N, C) float, 0 to 1, a score for each class of each box. A box whose scores pass the
            threshold in several classes is a candidate in each.
        options: thresholds and limits.

    Returns:
        Detections sorted by score, best first. Candidates with a NaN or infinite box or score are dropped
        here; jobs look at the raw outputs for those.
    """
    index, label_ids = torch.nonzero(class_scores >= options.min_score, as_tuple=True)
    return select_candidates(boxes[index], class_scores[index, label_ids], label_ids, options)


def select_candidates(boxes: Tensor, scores: Tensor, label_ids: Tensor, options: DetectOptions) -> Detections:
    """`select_detections` for (M, 4) boxes that have one class each: (M,) scores and label ids."""
    chosen = (scores >= options.min_score) & torch.isfinite(scores) & torch.isfinite(boxes).all(dim=1)
    boxes, scores, label_ids = boxes[chosen].float(), scores[chosen].float(), label_ids[chosen]
    keep = class_wise_nms(boxes, scores, label_ids, options.nms_iou)[: options.max_detections]
    return Detections(boxes[keep], scores[keep], label_ids[keep])
