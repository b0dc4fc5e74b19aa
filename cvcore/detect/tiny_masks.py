"""`tiny` with masks: Mask R-CNN's branch (He et al. 2017, section 3) on the maps of a one-stage detector.

The boxes are the detector's own, to the bit. Masks are cut out of three of its maps: two of the body, whose
edges are sharp, and what its finest head reads, which knows the parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cvcore.darknet.cfg import Cfg
from cvcore.darknet.detector import DarknetDetector
from cvcore.detect.base import TrainableDetector
from cvcore.detect.mask_head import MaskHead, draw_found, mask_loss, mask_targets
from cvcore.detect.region_head import check_counts
from cvcore.detect.truth import Truth
from cvcore.detect.yolo import build_yolo
from cvcore.image.fit import Fit
from cvcore.types import Augmentation, Detections, DetectOptions

STRIDE = 4
"""Of the map that masks are cut from, canvas pixels a cell."""

COPIES, SHIFT, SCALE = 3, 0.05, 0.1
"""Of each true box so many are drawn for training: deviations of the centre, as a share of the sides, and of
the sides' logarithms. They are about as far off as the detector's own boxes."""


@dataclass(frozen=True, slots=True)
class TinyMasksOutputs:
    """Raw outputs of B images: each head's, and the maps at strides 2, 4 and 8, (B, C, h, w) each."""

    heads: tuple[Tensor, ...]
    maps: tuple[Tensor, ...]


class TinyMasks(TrainableDetector):
    """A detector of boxes and a mask head beside it.

    With the detector frozen whole (`detector`) the head alone learns, and the loss is that of masks;
    otherwise both learn.
    """

    makes_masks = True
    learns_masks = True
    augmentation: tuple[Augmentation, ...] = ("jitter", "flip", "hsv")

    def __init__(self, detector: DarknetDetector, mask_head: MaskHead, *, config: dict[str, Any]) -> None:
        super().__init__()
        self.labels, self.input_spec, self.config = detector.labels, detector.input_spec, config
        self.num_anchors, self.canvas_step = detector.num_anchors, detector.canvas_step
        self.backbone_parts = tuple(f"detector.{part}" for part in detector.backbone_parts)
        self.layers = map_layers(detector.network.cfg)
        self.detector, self.mask_head = detector, mask_head

    def forward(self, images: Tensor) -> TinyMasksOutputs:
        """(B, 3, H, W) floats, 0 to 1, to raw outputs."""
        return TinyMasksOutputs(*self.detector.forward_with_maps(images, self.layers))

    def filled_by(self, state: Mapping[str, Tensor] | None) -> TrainableDetector:
        """The detector alone, but for a checkpoint that has a mask head."""
        return self if any(key.startswith("mask_head.") for key in state or ()) else self.detector

    def finite(self, raw: TinyMasksOutputs) -> list[bool]:
        """See `Detector.finite`; what is not finite in a map is so in the heads that follow it."""
        return super().finite(raw.heads)

    def count_boxes(self, images: Tensor) -> int:
        """See `Detector.count_boxes`."""
        return self.detector.count_boxes(images)

    def decode(self, raw: TinyMasksOutputs, fits: Sequence[Fit], options: DetectOptions) -> list[Detections]:
        """See `Detector.decode`."""
        found = self.detector.decode(raw.heads, fits, options)
        return [
            replace(own, masks=self._masks([each[k] for each in raw.maps], own, fit))
            for k, (own, fit) in enumerate(zip(found, fits, strict=True))
        ]

    def _masks(self, maps: Sequence[Tensor], found: Detections, fit: Fit) -> Tensor:
        features = join_maps([each[None] for each in maps])[0]
        return draw_found(self.mask_head, features, found, fit, corner=(0, 0))

    def losses(self, images: Tensor, truth: Truth) -> dict[str, Tensor]:
        """See `TrainableDetector.losses`."""
        if truth.masks is None:
            raise ValueError(f"{type(self).__name__} learns from masks: the truth has none")
        raw = self(images)
        height, width = images.shape[2:]
        boxes, rows = spread_boxes(truth.boxes, height=height, width=width)
        logits = self.mask_head(join_maps(raw.maps), boxes, truth.image_index[rows])
        wanted = mask_targets(truth.masks, boxes, rows)
        terms = {"mask": mask_loss(logits, truth.label_ids[rows], wanted)}
        if any(parameter.requires_grad for parameter in self.detector.parameters()):
            terms |= self.detector.losses_of(raw.heads, truth, height=height, width=width)
        return {**terms, "total": terms["mask"] + terms.get("total", 0.0)}


def map_layers(cfg: Cfg) -> tuple[int, int, int]:
    """What masks are made from: the last layers of stride 2 and 4, and the one before the last head."""
    height = cfg.input.height
    fine, finer = (
        max(layer.index for layer in cfg.layers if layer.output.height * stride == height)
        for stride in (STRIDE, STRIDE // 2)
    )
    return finer, fine, cfg.heads[-1].index - 2  # the head reads a projection of that layer


def join_maps(maps: Sequence[Tensor]) -> Tensor:
    """Maps at strides 2, 4 and 8 as one at stride 4: (B, 4 C2 + C4 + C8, h, w)."""
    finer, fine, coarse = maps
    raised = F.interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=False)
    return torch.cat([F.pixel_unshuffle(finer, 2), fine, raised], dim=1)


def spread_boxes(boxes: Tensor, *, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Boxes near true ones, drawn from torch's generator: `COPIES` of each.

    Args:
        boxes: (N, 4) xyxy, canvas pixels.
        height, width: the canvas, at whose edges boxes end, pixels.

    Returns:
        (M, 4) boxes, and (M,) int64 which one each is near; those that would be empty are left out.
    """
    rows = torch.arange(len(boxes), device=boxes.device).repeat(COPIES)
    corners = boxes[rows].view(-1, 2, 2)
    sides = corners[:, 1] - corners[:, 0]
    centres = corners.mean(dim=1) + SHIFT * torch.randn_like(sides) * sides
    half = sides * (SCALE * torch.randn_like(sides)).exp() / 2
    limits = boxes.new_tensor([width, height])
    upper, lower = (edge.clamp(min=0).minimum(limits) for edge in (centres - half, centres + half))
    keep = (lower - upper >= 1).all(dim=1)
    return torch.cat([upper, lower], dim=1)[keep], rows[keep]


def build_tiny_masks(
    labels: tuple[str, ...] | None = None, *, mask_width: int = 32, mask_convs: int = 3, **detector: Any
) -> TinyMasks:
    """The catalogue's `tiny_masks`, untrained.

    Args:
        labels: class names; the sample scenes' parts by default.
        mask_width, mask_convs: see `MaskHead`.
        detector: arguments of `build_yolo`, `version` apart.

    Raises:
        ValueError: for a configuration that no network can have.
        TypeError: for an argument that there is not.
    """
    check_counts({"mask_width": mask_width, "mask_convs": mask_convs})
    detects = build_yolo(labels, version="v3-small", **detector)
    layers = detects.network.cfg.layers
    finer, fine, coarse = (layers[k].output.channels for k in map_layers(detects.network.cfg))
    head = MaskHead(
        4 * finer + fine + coarse, len(detects.labels), stride=STRIDE, width=mask_width, num_convs=mask_convs
    )
    of_detector = {name: value for name, value in detects.config.items() if name != "version"}
    config = {**of_detector, "mask_width": mask_width, "mask_convs": mask_convs}
    return TinyMasks(detects, head.to(memory_format=torch.channels_last), config=config).eval()
