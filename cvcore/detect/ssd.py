"""SSD (Liu et al. 2016, Single Shot MultiBox Detector) on any trunk: SSD300, SSD512 and small siblings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cvcore.backbones.build import BackboneName, build_backbone
from cvcore.detect.base import TrainableDetector
from cvcore.detect.labels import VOC_LABELS
from cvcore.detect.ssd_layers import FC_CHANNELS, AtrousFc, ExtraLayers, Heads, L2Norm
from cvcore.detect.ssd_layout import FIRST_STRIDE, SECOND_STRIDE, paper_scales, plan_extras, plan_levels
from cvcore.detect.ssd_loss import SsdLossOptions, ssd_loss
from cvcore.detect.truth import Truth
from cvcore.image.fit import Fit, clip_boxes
from cvcore.image.normalize import imagenet_floats
from cvcore.ops.box_coder import BoxCoder
from cvcore.ops.boxes import select_batch
from cvcore.ops.default_boxes import default_boxes
from cvcore.types import Detections, DetectOptions, InputSpec

CODER = BoxCoder((10.0, 10.0, 5.0, 5.0))
"""The inverse of the authors' "variances", 0.1 and 0.2."""

LOSS = SsdLossOptions()
CANDIDATES_PER_CLASS = 400
"""Boxes of a class that enter suppression, as in the authors' code."""

SMALLEST_PX = 32


class Ssd(TrainableDetector):
    """A trunk, extra maps, and heads that score default boxes on every map.

    Attributes:
        levels: the default boxes of each map, finest first.
        clip: whether default boxes end at the canvas's border.
    """

    augmentation = ("colour", "zoom", "crop", "flip")

    def __init__(
        self,
        labels: tuple[str, ...],
        *,
        input_size: int,
        backbone: BackboneName,
        width: float,
        scales: Sequence[float] | None,
        clip: bool,
    ) -> None:
        super().__init__()
        self.labels = labels
        self.clip = clip
        self.input_spec = InputSpec(input_size, input_size, fit="stretch")
        self.trunk = build_backbone(backbone)
        sides = self.trunk.map_sides(input_size)
        extras = plan_extras(sides[SECOND_STRIDE], canvas_px=input_size, width=width)
        self.levels = plan_levels(
            [sides[FIRST_STRIDE], sides[SECOND_STRIDE], *(extra.side for extra in extras)],
            [FIRST_STRIDE, SECOND_STRIDE, *(extra.step_px for extra in extras)],
            _checked_scales(scales, 2 + len(extras), canvas_px=input_size),
        )
        self.config: dict[str, Any] = {
            "input_size": input_size,
            "backbone": backbone,
            "width": width,
            "scales": [*(level.scale for level in self.levels), self.levels[-1].next_scale],
            "clip": clip,
        }
        fine, coarse = self.trunk.channels[FIRST_STRIDE], self.trunk.channels[SECOND_STRIDE]
        self.norm = L2Norm(fine)
        self.fc: nn.Module = AtrousFc(coarse) if backbone == "vgg16" else nn.Identity()
        coarse = FC_CHANNELS if backbone == "vgg16" else coarse
        self.extras = ExtraLayers(coarse, extras)
        channels = [fine, coarse, *(extra.wide for extra in extras)]
        per_cell = [level.per_cell for level in self.levels]
        self.offsets = Heads(channels, per_cell, 4)
        self.logits = Heads(channels, per_cell, 1 + len(labels))

    def preprocess(self, canvases: Tensor, fits: Sequence[Fit] | None = None) -> Tensor:
        """See `Detector.preprocess`; normalised as torchvision's classifiers are."""
        del fits
        return imagenet_floats(canvases, next(self.parameters()).dtype)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) normalised images to what is said of N default boxes.

        Returns:
            offsets (B, N, 4) and logits (B, N, C + 1), the background first, both float32.
        """
        maps = self.trunk(images.contiguous(memory_format=torch.channels_last))
        coarse = self.fc(maps[SECOND_STRIDE])
        every = [self.norm(maps[FIRST_STRIDE]), coarse, *self.extras(coarse)]
        return self.offsets(every), self.logits(every)

    def default_boxes(self, device: torch.device | None = None) -> Tensor:
        """The N default boxes, (N, 4) float32 xyxy, canvas pixels."""
        return default_boxes(self.levels, canvas_px=self.input_spec.width, clip=self.clip, device=device)

    def count_boxes(self, images: Tensor) -> int:
        """See `Detector.count_boxes`: the default boxes."""
        del images
        return len(self.default_boxes())

    def decode(
        self, raw: tuple[Tensor, Tensor], fits: Sequence[Fit], options: DetectOptions
    ) -> list[Detections]:
        """See `Detector.decode`. The best few hundred boxes of each class enter suppression."""
        offsets, logits = raw
        assert len(offsets) == len(fits)
        boxes = CODER.decode(offsets, self.default_boxes(offsets.device))
        boxes = clip_boxes(boxes, height=self.input_spec.height, width=self.input_spec.width)
        scores = logits.softmax(dim=-1)[..., 1:]
        return select_batch(boxes, scores, options, candidates_per_class=CANDIDATES_PER_CLASS)

    def losses(self, images: Tensor, truth: Truth) -> dict[str, Tensor]:
        """See `TrainableDetector.losses` and `ssd_loss`."""
        offsets, logits = self(images)
        references = self.default_boxes(offsets.device)
        loss = ssd_loss(offsets, logits, truth, references, coder=CODER, options=LOSS)
        return {"total": loss.total, "box": loss.box, "classes": loss.classes}

    def load_backbone(self, state: Mapping[str, Tensor], *, name: str) -> None:
        """Start from a torchvision classifier's weights, its linear layers too where VGG16's are there.

        Raises:
            WeightsError: naming what is missing or of another shape.
        """
        self.trunk.load(state, name=name)
        if isinstance(self.fc, AtrousFc):
            self.fc.load_linear(state, name=name)


def build_ssd(
    labels: tuple[str, ...] | None = None,
    *,
    input_size: int = 300,
    backbone: BackboneName = "vgg16",
    width: float = 1.0,
    scales: Sequence[float] | None = None,
    clip: bool = False,
) -> Ssd:
    """Build an untrained SSD.

    Args:
        labels: class names, without the background; Pascal VOC's by default.
        input_size: side of the square canvas, pixels, from 32 up: 300 and 512 are the paper's.
        backbone: the trunk; the paper's is VGG16.
        width: share of the paper's channels that the extra maps have.
        scales: of the default boxes, as shares of the canvas's side: one a map, finest first, and one more;
            see `paper_scales` for the default.
        clip: whether default boxes end at the canvas's border.

    Raises:
        ValueError: for a configuration that no network can have.
    """
    if input_size < SMALLEST_PX:
        raise ValueError(f"input_size must be at least {SMALLEST_PX} px, got {input_size}")
    if not width > 0:
        raise ValueError(f"width must be above 0, got {width}")
    model = Ssd(
        labels or VOC_LABELS,
        input_size=input_size,
        backbone=backbone,
        width=width,
        scales=scales,
        clip=clip,
    )
    return model.to(memory_format=torch.channels_last)


def _checked_scales(scales: Sequence[float] | None, num_maps: int, *, canvas_px: int) -> tuple[float, ...]:
    if scales is None:
        return paper_scales(num_maps, canvas_px=canvas_px)
    if len(scales) != num_maps + 1 or not all(scale > 0 for scale in scales):
        raise ValueError(
            f"scales must be {num_maps + 1} positive shares of the canvas, one for each of {num_maps} maps "
            f"and one more, got {list(scales)}"
        )
    return tuple(float(scale) for scale in scales)
