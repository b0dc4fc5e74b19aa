"""What the region-wise head learns from (Girshick 2015, Fast R-CNN, sections 2.2 and 2.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from cvcore.detect.truth import PaddedTruth
from cvcore.ops.box_coder import BoxCoder
from cvcore.ops.padding import PaddedBoxes
from cvcore.ops.region_matching import overlaps
from cvcore.ops.sampling import sample_rows


@dataclass(frozen=True, slots=True)
class RegionLossOptions:
    """Which regions are sampled, and the loss's shape.

    Attributes:
        regions_per_image: sampled.
        foreground_share: of them, at most, 0 to 1.
        foreground_iou: regions that overlap some ground truth by at least this are of its class.
        background_from: background are those whose greatest IoU is in [this, `foreground_iou`); in an image
            without ground truth all are.
        box_weight: the paper's lambda.
        smooth: where the smooth L1 loss turns from square to linear (equation 3).
    """

    regions_per_image: int = 64
    foreground_share: float = 0.25
    foreground_iou: float = 0.5
    background_from: float = 0.1
    box_weight: float = 1.0
    smooth: float = 1.0


@dataclass(frozen=True, slots=True)
class RegionTargets:
    """R sampled regions, and what is wanted of them.

    Attributes:
        boxes: (R, 4) float32 xyxy.
        image_index: (R,) int64.
        classes: (R,) int64, label ids from 1; 0 is the background.
        wanted: (R, 4) xyxy, the ground truth overlapped most; of no meaning for background.
        places: (R,) int64, which of its image's that is, likewise.
    """

    boxes: Tensor
    image_index: Tensor
    classes: Tensor
    wanted: Tensor
    places: Tensor


@torch.no_grad()
def sample_regions(proposals: PaddedBoxes, truth: PaddedTruth, options: RegionLossOptions) -> RegionTargets:
    """Sample each image's regions for the loss; its ground truth counts as proposed too."""
    regions = proposals.joined(truth.padded_boxes())
    best, matched = overlaps(regions.boxes, truth).max(dim=2)
    is_foreground = regions.valid & (best >= options.foreground_iou)
    empty = ~truth.valid.any(dim=1, keepdim=True)
    is_background = regions.valid & ~is_foreground & (empty | (best >= options.background_from))
    most = round(options.regions_per_image * options.foreground_share)
    foreground = sample_rows(is_foreground, most)
    background = sample_rows(is_background, options.regions_per_image - foreground.sum(dim=1))
    image, place = torch.nonzero(foreground | background, as_tuple=True)
    own = matched[image, place]
    classes = torch.where(foreground[image, place], truth.label_ids[image, own] + 1, 0)
    return RegionTargets(regions.boxes[image, place], image, classes, truth.boxes[image, own], own)


def region_loss(
    logits: Tensor, offsets: Tensor, targets: RegionTargets, *, coder: BoxCoder, options: RegionLossOptions
) -> tuple[Tensor, Tensor]:
    """The classification and the regression term (equation 1), means over all R sampled regions.

    Args:
        logits: (R, K + 1), background first.
        offsets: (R, K, 4).
        targets: of the same regions.
        coder: of the offsets.
        options: weights.
    """
    count = max(1, len(logits))
    classification = F.cross_entropy(logits, targets.classes, reduction="sum") / count
    rows = torch.nonzero(targets.classes)[:, 0]
    wanted = coder.encode(targets.wanted[rows], targets.boxes[rows])
    predicted = offsets[rows, targets.classes[rows] - 1]
    distance = F.smooth_l1_loss(predicted, wanted, beta=options.smooth, reduction="sum")
    return classification, options.box_weight * distance / count
