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


def box_areas(boxes: Tensor) -> Tensor:
    """(..., 4) xyxy to (...)."""
    return (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)


def paired_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of boxes that lie side by side, (..., 4) xyxy each, which broadcast: (...); 0 without area."""
    low, high = torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:])
    common = (high - low).clamp(min=0).prod(dim=-1)
    return common / (box_areas(first) + box_areas(second) - common).clamp(min=1e-9)


def select_batch(
    boxes: Tensor,
    class_scores: Tensor,
    options: DetectOptions,
    *,
    candidates_per_class: int | None = None,
) -> list[Detections]:
    """Threshold, suppress class by class, and keep the best of each image of a batch.

    The whole batch is thresholded at once. On an accelerator it is suppressed at once too: one launch
    and one wait for all images. On a CPU images are suppressed one by one, since the operator's work grows
    with the square of its candidates.

    Args:
        boxes: (B, N, 4) float, xyxy, pixels.
        class_scores: (B, N, C) float, 0 to 1, a score for each class of each box. A box whose scores pass the
            threshold in several classes is a candidate in each.
        options: thresholds and limits.
        candidates_per_class: so many boxes of each image, the best of each class, enter suppression, and
            those that score as much as the last of them; None lets all in.

    Returns:
        For each image its detections, best first. Candidates with a NaN or infinite box or score are dropped
        here; jobs look at the raw outputs for those.
    """
    image, index, label_ids = torch.nonzero(class_scores >= options.min_score, as_tuple=True)
    if candidates_per_class is not None and class_scores.shape[1] > candidates_per_class:
        best = _best_of_each_class(class_scores, image, index, label_ids, candidates_per_class)
        image, index, label_ids = image[best], index[best], label_ids[best]
    found = boxes[image, index], class_scores[image, index, label_ids], label_ids
    if boxes.device.type == "cpu":
        counts = _counts(image, len(boxes))
        parts = zip(*(torch.split(part, counts) for part in found), strict=True)
        return [select_candidates(b, s, ids, options) for b, s, ids in parts]
    return select_together(*found, image, options, num_images=len(boxes))


def select_candidates(boxes: Tensor, scores: Tensor, label_ids: Tensor, options: DetectOptions) -> Detections:
    """`select_batch` of one image, for (M, 4) boxes that have one class each: (M,) scores and label ids."""
    chosen = (scores >= options.min_score) & torch.isfinite(scores) & torch.isfinite(boxes).all(dim=1)
    boxes, scores, label_ids = boxes[chosen].float(), scores[chosen].float(), label_ids[chosen]
    keep = class_wise_nms(boxes, scores, label_ids, options.nms_iou)[: options.max_detections]
    return Detections(boxes[keep], scores[keep], label_ids[keep])


def _best_of_each_class(
    class_scores: Tensor, image: Tensor, index: Tensor, label_ids: Tensor, limit: int
) -> Tensor:
    """Which of M candidates score no less than the `limit`-th of their image and class: (M,) bool."""
    num_images, _, num_classes = class_scores.shape
    groups = image * num_classes + label_ids
    crowded = torch.bincount(groups, minlength=num_images * num_classes) > limit
    full = torch.nonzero(crowded).squeeze(1)
    floor = class_scores.new_full(crowded.shape, -torch.inf)
    every = class_scores[full // num_classes, :, full % num_classes]  # (crowded groups, N)
    floor[full] = every.topk(limit, dim=1).values[:, -1]
    return class_scores[image, index, label_ids] >= floor[groups]


def select_together(
    boxes: Tensor,
    scores: Tensor,
    label_ids: Tensor,
    image: Tensor,
    options: DetectOptions,
    *,
    num_images: int,
) -> list[Detections]:
    """`select_candidates` for (M,) candidates of all images, one suppression for the batch."""
    finite = torch.isfinite(scores) & torch.isfinite(boxes).all(dim=1)
    boxes, scores, label_ids, image = (part[finite] for part in (boxes, scores, label_ids, image))
    groups = image * (int(label_ids.max()) + 1 if len(label_ids) else 1) + label_ids
    keep = class_wise_nms(boxes.float(), scores.float(), groups, options.nms_iou)
    keep = keep[image[keep].argsort(stable=True)]  # By image; best first in each.
    counts = _counts(image[keep], num_images)
    kept = zip(*(torch.split(part[keep], counts) for part in (boxes, scores, label_ids)), strict=True)
    limit = options.max_detections
    return [Detections(b[:limit].float(), s[:limit].float(), ids[:limit]) for b, s, ids in kept]


def _counts(image: Tensor, num_images: int) -> list[int]:
    counts: list[int] = torch.bincount(image, minlength=num_images).tolist()
    return counts
