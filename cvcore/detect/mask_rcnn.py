"""Mask R-CNN (He et al. 2017) on one feature map: Faster R-CNN, and a branch beside its head for masks.

A sibling of the paper's that two cores can train. torchvision's, on feature pyramids and with its published
weights, is `maskrcnn_resnet50_fpn`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from cvcore.backbones.build import BackboneName
from cvcore.detect.base import TrainableDetector
from cvcore.detect.contents import same_size_batches
from cvcore.detect.faster_rcnn import FasterRcnn, build_faster_rcnn
from cvcore.detect.mask_head import MaskHead, draw_found, mask_loss, mask_targets
from cvcore.detect.region_head import RegionOutputs, check_counts, decode_regions, in_order
from cvcore.detect.truth import Truth
from cvcore.image.fit import Fit
from cvcore.types import Augmentation, Detections, DetectOptions

SMALL: Mapping[str, Any] = MappingProxyType(
    {
        "anchor_sizes": (24, 48, 96, 192),
        "rpn_width": 128,
        "narrow_to": 64,
        "head_width": 256,
        "pool": "align",
        "dropout": 0.0,
        "proposals": 100,
        "training_proposals": 300,
        "regions_per_image": 64,
    }
)
"""What differs from `build_faster_rcnn`'s defaults, beside backbone, stride and canvas."""


@dataclass(frozen=True, slots=True)
class MaskRcnnOutputs:
    """Raw outputs of B images: their regions, and the map of each, (C, h, w), which masks are made from."""

    regions: RegionOutputs
    features: tuple[Tensor, ...]


class MaskRcnn(TrainableDetector):
    """Masks are made of the boxes that are left after suppression, as in the paper (section 3.1)."""

    makes_masks = True
    learns_masks = True
    augmentation: tuple[Augmentation, ...] = ("flip",)
    backbone_parts = ("detector.trunk",)

    def __init__(self, detector: FasterRcnn, mask_head: MaskHead, *, config: dict[str, Any]) -> None:
        super().__init__()
        self.labels, self.input_spec, self.config = detector.labels, detector.input_spec, config
        self.detector, self.mask_head = detector, mask_head

    def preprocess(self, canvases: Tensor, fits: Sequence[Fit] | None = None) -> list[Tensor]:
        """See `FasterRcnn.preprocess`."""
        return self.detector.preprocess(canvases, fits)

    def forward(self, images: Sequence[Tensor]) -> MaskRcnnOutputs:
        """Regions of each image with their scores and offsets; images of one size run together."""
        indices, parts = [], []
        maps: dict[int, Tensor] = {}
        for own, batch in same_size_batches(images):
            features = self.detector.trunk.last_map(batch)
            indices.append(own)
            parts.append(self.detector.find_regions(features, height=batch.shape[2], width=batch.shape[3]))
            maps.update(zip(own, features, strict=True))
        return MaskRcnnOutputs(in_order(indices, parts), tuple(maps[k] for k in range(len(images))))

    def finite(self, raw: MaskRcnnOutputs) -> list[bool]:
        """See `Detector.finite`; what is not finite in a map is so in the scores of its regions."""
        return super().finite(raw.regions)

    def count_boxes(self, images: Sequence[Tensor]) -> int:
        """See `Detector.count_boxes`."""
        return self.detector.count_boxes(images)

    def decode(self, raw: MaskRcnnOutputs, fits: Sequence[Fit], options: DetectOptions) -> list[Detections]:
        """See `Detector.decode`."""
        found = decode_regions(raw.regions, fits, options)
        return [
            replace(own, masks=draw_found(self.mask_head, features, own, fit, corner=(fit.left, fit.top)))
            for own, features, fit in zip(found, raw.features, fits, strict=True)
        ]

    def losses(self, images: Sequence[Tensor], truth: Truth) -> dict[str, Tensor]:
        """See `TrainableDetector.losses`: those of Faster R-CNN, and that of masks of positive regions."""
        if truth.masks is None:
            raise ValueError("Mask R-CNN learns from masks: the truth has none")
        learned = self.detector.learn(images, truth)
        regions = learned.regions
        positive = regions.classes > 0
        boxes, image_index = regions.boxes[positive], regions.image_index[positive]
        logits = self.mask_head(learned.features, boxes, image_index)
        rows = truth.rows(image_index, regions.places[positive])
        wanted = mask_targets(truth.masks, boxes, rows)
        terms = {**learned.terms, "mask": mask_loss(logits, regions.classes[positive] - 1, wanted)}
        return {"total": torch.stack([*terms.values()]).sum(), **terms}

    def load_backbone(self, state: Mapping[str, Tensor], *, name: str) -> None:
        """See `FasterRcnn.load_backbone`."""
        self.detector.load_backbone(state, name=name)


def build_mask_rcnn(
    labels: tuple[str, ...] | None = None,
    *,
    backbone: BackboneName = "squeezenet1_1",
    stride: int = 8,
    input_size: int = 320,
    mask_width: int = 64,
    mask_convs: int = 4,
    **detector: Any,
) -> MaskRcnn:
    """Build an untrained Mask R-CNN, small enough for CPUs.

    Args:
        labels: class names, without a background.
        backbone, stride: see `build_backbone`.
        input_size: side of the square canvas that images are scaled to, pixels.
        mask_width, mask_convs: see `MaskHead`.
        detector: further arguments of `build_faster_rcnn`; `SMALL` are their defaults here.

    Raises:
        ValueError: for a configuration that no network can have.
        TypeError: for an argument that there is not.
    """
    check_counts({"input_size": input_size, "mask_width": mask_width, "mask_convs": mask_convs})
    of_canvas = {"canvas": (input_size, input_size), "shortest_edge": input_size}
    detects = build_faster_rcnn(
        labels, backbone=backbone, stride=stride, **{**of_canvas, **SMALL, **detector}
    )
    head = MaskHead(
        detects.trunk.channels[stride],
        len(detects.labels),
        stride=stride,
        width=mask_width,
        num_convs=mask_convs,
    )
    config = {**detects.config, "input_size": input_size, "mask_width": mask_width, "mask_convs": mask_convs}
    model = MaskRcnn(detects, head, config=config)
    return model.to(memory_format=torch.channels_last)
