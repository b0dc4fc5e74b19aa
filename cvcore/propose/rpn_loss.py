"""What the region proposal network learns from (Ren et al. 2015, Faster R-CNN, section 3.1.2, equation 1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from cvcore.detect.truth import PaddedTruth
from cvcore.ops.box_coder import BoxCoder
from cvcore.ops.region_matching import assign_anchors, overlaps
from cvcore.ops.sampling import sample_rows

_CODER = BoxCoder()


@dataclass(frozen=True, slots=True)
class RpnLossOptions:
    """Thresholds, sample and weights.

    Attributes:
        positive_iou, negative_iou: see `assign_anchors`.
        anchors_per_image: sampled for the loss, up to half of them positive.
        box_weight: the paper's lambda.
        smooth: where the smooth L1 loss turns from square to linear; the authors' code has 1/9 here, the
            square of an inverse sigma of 3.
    """

    positive_iou: float = 0.7
    negative_iou: float = 0.3
    anchors_per_image: int = 256
    box_weight: float = 10.0
    smooth: float = 1 / 9


@dataclass(frozen=True, slots=True)
class AnchorTargets:
    """What the sampled anchors should say.

    Attributes:
        positive, negative: (B, A) bool.
        offsets: (P, 4) of the positive ones, in row-major order.
    """

    positive: Tensor
    negative: Tensor
    offsets: Tensor


@torch.no_grad()
def sample_anchors(
    anchors: Tensor, inside: Tensor, truth: PaddedTruth, options: RpnLossOptions
) -> AnchorTargets:
    """Assign (A, 4) anchors and sample each image's; those that are not (A,) `inside` take no part."""
    kinds, matched = assign_anchors(
        overlaps(anchors[None], truth),
        inside,
        positive_iou=options.positive_iou,
        negative_iou=options.negative_iou,
    )
    positive = sample_rows(kinds == 1, options.anchors_per_image // 2)
    negative = sample_rows(kinds == 0, options.anchors_per_image - positive.sum(dim=1))
    image, anchor = torch.nonzero(positive, as_tuple=True)
    offsets = _CODER.encode(truth.boxes[image, matched[image, anchor]], anchors[anchor])
    return AnchorTargets(positive, negative, offsets)


def rpn_loss(
    scores: Tensor, offsets: Tensor, targets: AnchorTargets, *, num_cells: int, options: RpnLossOptions
) -> tuple[Tensor, Tensor]:
    """The classification and the regression term, the latter weighted.

    Equation 1 for one image an optimiser step; of a batch, the mean over its images, each with its share of
    sampled anchors.

    Args:
        scores: (B, A, 2), background first.
        offsets: (B, A, 4).
        targets: of the sampled anchors.
        num_cells: of the map: the paper's N_reg.
        options: weights.
    """
    sampled = targets.positive | targets.negative
    wanted = targets.positive[sampled].long()
    objectness = F.cross_entropy(scores[sampled], wanted, reduction="sum") / max(1, len(wanted))
    distance = F.smooth_l1_loss(
        offsets[targets.positive], targets.offsets, beta=options.smooth, reduction="sum"
    )
    return objectness, options.box_weight * distance / (num_cells * len(scores))
