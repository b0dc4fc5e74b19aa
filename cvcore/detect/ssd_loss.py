"""SSD's training objective (Liu et al. 2016, section 2.2, equations 1 to 3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from cvcore.detect.truth import PaddedTruth, Truth
from cvcore.ops.box_coder import BoxCoder
from cvcore.ops.matching import match_references

BACKGROUND = 0


@dataclass(frozen=True, slots=True)
class SsdLossOptions:
    """Weights and thresholds of the loss.

    Attributes:
        match_iou: default boxes that overlap a ground truth by more answer for it.
        negatives_per_positive: background boxes that count for each matched one of their image: those
            with the highest loss ("Hard negative mining").
        empty_negatives: background boxes that count in an image where nothing is matched. The paper has 0:
            such images then teach nothing, though they are what a detector of rare defects sees most.
        alpha: weight of the box term (equation 1).
    """

    match_iou: float = 0.5
    negatives_per_positive: float = 3.0
    empty_negatives: int = 3
    alpha: float = 1.0


@dataclass(frozen=True, slots=True)
class SsdLoss:
    """The weighted sum, and its terms before weighting, each over the number of matched boxes; scalars."""

    total: Tensor
    box: Tensor
    classes: Tensor


def ssd_loss(
    offsets: Tensor,
    logits: Tensor,
    truth: Truth,
    references: Tensor,
    *,
    coder: BoxCoder,
    options: SsdLossOptions,
) -> SsdLoss:
    """The loss of a batch.

    Args:
        offsets: (B, N, 4) float32.
        logits: (B, N, C + 1) float32, the background first.
        truth: the batch's boxes and classes, of C; none is allowed.
        references: (N, 4) default boxes, xyxy, canvas pixels.
        coder: what `offsets` mean.
        options: weights and thresholds.
    """
    padded = truth.padded(len(offsets))
    matched = match_references(padded.boxes, padded.valid, references, min_iou=options.match_iou)
    positive = matched >= 0
    image, reference = torch.nonzero(positive, as_tuple=True)
    wanted = coder.encode(padded.boxes[image, matched[image, reference]], references[reference])
    box = F.smooth_l1_loss(offsets[image, reference], wanted, reduction="sum")

    targets = class_targets(padded, matched)
    cost = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)
    counted = positive | hard_negatives(cost.detach(), positive, options)
    count = positive.sum().clamp(min=1)
    box, classes = box / count, (cost * counted).sum() / count
    return SsdLoss(options.alpha * box + classes, box, classes)


def class_targets(padded: PaddedTruth, matched: Tensor) -> Tensor:
    """Output columns that (B, N) `matched` boxes should choose: (B, N) int64, BACKGROUND where unmatched."""
    columns = padded.label_ids.gather(1, matched.clamp(min=0)) + 1
    return torch.where(matched >= 0, columns, BACKGROUND)


def hard_negatives(cost: Tensor, positive: Tensor, options: SsdLossOptions) -> Tensor:
    """The unmatched boxes of each image with the highest loss, as many as its matched ones ask for.

    Args:
        cost: (B, N), classification loss.
        positive: (B, N) bool, matched boxes.
        options: how many.

    Returns:
        (B, N) bool.
    """
    num_positive = positive.sum(dim=1, keepdim=True)
    wanted = torch.where(
        num_positive > 0, num_positive * options.negatives_per_positive, options.empty_negatives
    )
    order = cost.masked_fill(positive, -1.0).argsort(dim=1, descending=True)
    rank = torch.empty_like(order)
    rank.scatter_(1, order, torch.arange(cost.shape[1], device=cost.device).expand_as(order))
    return (rank < wanted) & ~positive
