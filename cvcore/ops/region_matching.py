"""Which ground truth anchors and proposals answer for, for all images of a batch at once."""

from __future__ import annotations

import torch
from torch import Tensor

from cvcore.detect.truth import PaddedTruth
from cvcore.ops.boxes import paired_iou


def overlaps(boxes: Tensor, truth: PaddedTruth) -> Tensor:
    """IoU of (B or 1, P, 4) boxes with their image's ground truth: (B, P, G), -1 in empty places of truth."""
    iou = paired_iou(boxes[:, :, None], truth.boxes[:, None])
    return iou.masked_fill(~truth.valid[:, None], -1.0)


def assign_anchors(
    overlap: Tensor, inside: Tensor, *, positive_iou: float, negative_iou: float
) -> tuple[Tensor, Tensor]:
    """Make anchors positive or negative (Faster R-CNN, section 3.1.2).

    Positive are those with an IoU above `positive_iou`, and those that overlap some ground truth most, ties
    included; of the others those below `negative_iou` for all ground truth are negative.

    Args:
        overlap: (B, A, G) as `overlaps` gives it.
        inside: (A,) bool; other anchors take no part.

    Returns:
        (B, A) int64: 1 positive, 0 negative, -1 neither; and (B, A) int64, the ground truth overlapped most.
    """
    overlap = overlap.masked_fill(~inside[None, :, None], -1.0)
    best, matched = overlap.max(dim=2)
    highest = overlap.amax(dim=1, keepdim=True)  # (B, 1, G)
    chosen = ((overlap == highest) & (highest > 0)).any(dim=2) | (best > positive_iou)
    kinds = torch.where((best < negative_iou) & inside[None], 0, -1)
    return torch.where(chosen, 1, kinds), matched
