"""From maps of regions to one map of the image, and to its instances (Noh et al. 2015, section 5)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from cvcore.ops.nms import class_wise_nms
from cvcore.types import Detections, DetectOptions


def merge_regions(scores: Tensor, boxes: Tensor, *, height: int, width: int) -> Tensor:
    """The pixel-wise maximum of the regions' class scores, 0 outside of each (equation 1).

    Args:
        scores: (P, C, S, S), before any softmax.
        boxes: (P, 4) xyxy, pixels of the image; what a score map covers. They may leave the image.
        height, width: of the image.

    Returns:
        (C, height, width), in the scores' dtype; zeros without a region.
    """
    merged = scores.new_zeros((scores.shape[1], height, width))
    if not len(boxes):
        return merged
    merged.fill_(float("-inf"))
    covered = torch.zeros((height, width), dtype=torch.int64, device=scores.device)
    for own, box in zip(scores, boxes.tolist(), strict=True):
        rows, columns, placed = _placed(own, box, height=height, width=width)
        if placed is None:
            continue
        merged[:, rows, columns] = torch.maximum(merged[:, rows, columns], placed)
        covered[rows, columns] += 1
    # A region that does not cover a pixel says 0 of it.
    beyond = covered < len(boxes)
    return torch.where(beyond, merged.clamp(min=0), merged)


def region_instances(
    scores: Tensor, boxes: Tensor, options: DetectOptions, *, height: int, width: int
) -> Detections:
    """Each region's object: its most frequent class other than 0, with the pixels that are of it.

    The score is the mean probability of that class over those pixels; of masks of one class whose boxes
    overlap by more than `options.nms_iou` the best is kept.

    Args:
        scores: (P, C, S, S), before any softmax; class 0 is the background.
        boxes: (P, 4) xyxy, pixels of the image.
        options: thresholds and limits.
        height, width: of the image.

    Returns:
        Detections, best first, with masks of the image's size; boxes are those of the masks, `label_ids`
        those of the classes.
    """
    masks, sure, label_ids, tight = [], [], [], []
    for own, box in zip(scores, boxes.tolist(), strict=True):
        rows, columns, placed = _placed(own, box, height=height, width=width)
        if placed is None:
            continue
        chances = placed.float().softmax(dim=0)
        classes = chances.argmax(dim=0)
        counts = classes.flatten().bincount(minlength=len(chances))
        counts[0] = 0
        label = int(counts.argmax())
        if not label or not counts[label]:
            continue
        mask = torch.zeros((height, width), dtype=torch.bool, device=scores.device)
        mask[rows, columns] = classes == label
        masks.append(mask)
        sure.append(chances[label][classes == label].mean())
        label_ids.append(label)
        tight.append(_box_of(mask))
    if not masks:
        empty = scores.new_zeros(0)
        ids = torch.zeros(0, dtype=torch.int64, device=scores.device)
        return Detections(empty.view(0, 4), empty, ids, torch.zeros((0, height, width), dtype=torch.bool))
    found = Detections(
        torch.stack(tight).float(),
        torch.stack(sure),
        torch.tensor(label_ids, device=scores.device),
        torch.stack(masks),
    )
    return _suppressed(found, options)


def _placed(
    scores: Tensor, box: list[float], *, height: int, width: int
) -> tuple[slice, slice, Tensor | None]:
    """Where a region lies in the image, whole pixels, and its scores there; None where it lies outside."""
    left, top, right, bottom = (round(value) for value in box)
    rows, columns = slice(max(0, top), min(height, bottom)), slice(max(0, left), min(width, right))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return rows, columns, None
    whole = F.interpolate(
        scores[None], size=(bottom - top, right - left), mode="bilinear", align_corners=False
    )[0]
    inner = whole[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return rows, columns, inner


def _box_of(mask: Tensor) -> Tensor:
    ys, xs = mask.any(dim=1).nonzero()[:, 0], mask.any(dim=0).nonzero()[:, 0]
    return torch.stack([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1])


def _suppressed(found: Detections, options: DetectOptions) -> Detections:
    kept = class_wise_nms(found.boxes, found.scores, found.label_ids, options.nms_iou)
    kept = kept[found.scores[kept] >= options.min_score][: options.max_detections]
    assert found.masks is not None
    return Detections(found.boxes[kept], found.scores[kept], found.label_ids[kept], found.masks[kept])
