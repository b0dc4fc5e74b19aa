"""The region-wise head of Fast R-CNN (Girshick 2015, section 2), which Faster R-CNN shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align, roi_pool

from cvcore.backbones.trunk import copy_linear
from cvcore.image.fit import Fit, clip_boxes
from cvcore.ops.box_coder import BoxCoder
from cvcore.ops.boxes import select_candidates
from cvcore.ops.padding import PaddedBoxes
from cvcore.types import Detections, DetectOptions

Pool = Literal["max", "align"]

BINS = 7
CODER = BoxCoder((10.0, 10.0, 5.0, 5.0))
"""Offsets are learned divided by their standard deviations, 0.1, 0.1, 0.2 and 0.2."""


@dataclass(frozen=True, slots=True)
class RegionOutputs:
    """Raw outputs for each region of each image; zeros in empty places.

    Attributes:
        boxes: (B, P, 4) float32 xyxy, content pixels, the regions.
        valid: (B, P) bool, which places hold one.
        logits: (B, P, K + 1) float32, background first.
        offsets: (B, P, K, 4) float32, each class's own.
    """

    boxes: Tensor
    valid: Tensor
    logits: Tensor
    offsets: Tensor


class RegionHead(nn.Module):
    """RoI pooling to 7x7, fc6, fc7, and their K + 1 scores and 4 K offsets.

    Args:
        channels: of the feature map.
        num_labels: K, background not counted.
        stride: image pixels a cell of the map.
        width: of fc6 and fc7.
        pool: `max` is the paper's; `align` interpolates (Mask R-CNN, section 3).
        dropout: probability after fc6 and fc7, in training.
        narrow_to: channels that a 1x1 convolution makes of them before pooling, for a quick small head; None
            pools the map as it is, as the paper does.
    """

    def __init__(
        self,
        channels: int,
        num_labels: int,
        *,
        stride: int,
        width: int,
        pool: Pool,
        dropout: float,
        narrow_to: int | None = None,
    ) -> None:
        super().__init__()
        if pool not in get_args(Pool):
            raise ValueError(f"pool must be one of {', '.join(get_args(Pool))}, got {pool!r}")
        self.stride, self.pool, self.num_labels = stride, pool, num_labels
        self.narrow = nn.Identity() if narrow_to is None else nn.Conv2d(channels, narrow_to, 1)
        self.fc6 = nn.Linear((narrow_to or channels) * BINS * BINS, width)
        self.fc7 = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.scores = nn.Linear(width, num_labels + 1)
        self.offsets = nn.Linear(width, 4 * num_labels)
        for layer, std in ((self.scores, 0.01), (self.offsets, 0.001)):  # section 2.3
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, boxes: Tensor, image_index: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (R, K + 1), background first, and offsets (R, K, 4), float32, of R regions.

        Args:
            features: (B, C, h, w).
            boxes: (R, 4) float32 xyxy, pixels of the images that the map is of.
            image_index: (R,) int64.
        """
        rois = torch.cat([image_index[:, None].to(boxes), boxes], dim=1)
        features = self.narrow(features)
        # In float32, for in bfloat16 a region's edge would be off by pixels.
        maps, scale = features.float(), 1 / self.stride
        if self.pool == "max":
            pooled = roi_pool(maps, rois, BINS, scale)
        else:
            pooled = roi_align(maps, rois, BINS, scale, 2, aligned=True)
        pooled = pooled.to(features.dtype)
        hidden = self.dropout(F.relu(self.fc6(pooled.flatten(1))))
        hidden = self.dropout(F.relu(self.fc7(hidden)))
        return self.scores(hidden).float(), self.offsets(hidden).float().unflatten(1, (-1, 4))

    def padded(self, features: Tensor, regions: PaddedBoxes, healthy: Tensor) -> RegionOutputs:
        """`forward` on each image's regions.

        `healthy` is (B,) bool: the logits of an image that is not become NaN, so that `finite` sees it even
        where no region was pooled from the cells at fault.
        """
        logits, offsets = self(features, *regions.flat())
        shape = regions.valid.shape
        all_logits = logits.new_zeros((*shape, self.num_labels + 1))
        all_offsets = offsets.new_zeros((*shape, self.num_labels, 4))
        all_logits[regions.valid], all_offsets[regions.valid] = logits, offsets
        all_logits[~healthy] = torch.nan
        return RegionOutputs(regions.boxes, regions.valid, all_logits, all_offsets)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Copy a VGG16's first two fully connected layers into fc6 and fc7, each where it fits."""
        copy_linear(self.fc6, state, "classifier.0")
        copy_linear(self.fc7, state, "classifier.3")


def all_finite(*maps: Tensor) -> Tensor:
    """(B,) bool, whether an image's part of each batch-first map is finite."""
    flags = [torch.isfinite(one).flatten(1).all(dim=1) for one in maps]
    return torch.stack(flags).all(dim=0)


def in_order(indices: Sequence[Sequence[int]], parts: Sequence[RegionOutputs]) -> RegionOutputs:
    """Join outputs of parts of a batch, with as many places each, in the order of its images."""
    device = parts[0].boxes.device
    order = torch.tensor([i for own in indices for i in own], device=device).argsort()
    joined = [torch.cat([getattr(part, f.name) for part in parts])[order] for f in fields(RegionOutputs)]
    return RegionOutputs(*joined)


def decode_regions(
    raw: RegionOutputs, fits: Sequence[Fit], options: DetectOptions, coder: BoxCoder = CODER
) -> list[Detections]:
    """Softmax scores and refined boxes as detections, in canvas pixels, class by class."""
    scores = raw.logits.softmax(dim=-1)[..., 1:].masked_fill(~raw.valid[..., None], -1.0)
    boxes = coder.decode(raw.offsets, raw.boxes[:, :, None])  # (B, P, K, 4)
    return [
        select_class_boxes(own_boxes, own_scores, fit, options)
        for own_boxes, own_scores, fit in zip(boxes, scores, fits, strict=True)
    ]


def select_class_boxes(boxes: Tensor, scores: Tensor, fit: Fit, options: DetectOptions) -> Detections:
    """One image's detections, in canvas pixels, of (P, K, 4) content pixels and (P, K) scores."""
    region, label = torch.nonzero(scores >= options.min_score, as_tuple=True)
    chosen = clip_boxes(boxes[region, label], height=fit.content_height, width=fit.content_width)
    solid = (chosen[:, 2:] > chosen[:, :2]).all(dim=1)
    found = select_candidates(chosen[solid], scores[region, label][solid], label[solid], options)
    corner = chosen.new_tensor([fit.left, fit.top] * 2)
    return Detections(found.boxes + corner, found.scores, found.label_ids)


def check_counts(counts: Mapping[str, int]) -> None:
    """Refuse numbers of things below 1, by their names.

    Raises:
        ValueError: for the first that is.
    """
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
