"""torchvision's SSD and SSDlite (Liu et al. 2016), image to detections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList

from cvcore.detect.base import Detector
from cvcore.image.fit import Fit
from cvcore.ops.box_coder import BoxCoder
from cvcore.ops.boxes import select_batch
from cvcore.types import Detections, DetectOptions, InputSpec


class TorchvisionSsd(Detector):
    """SSD reads its canvas stretched, whatever the image's aspect."""

    def __init__(self, network: Any, *, labels: tuple[str, ...]) -> None:
        """Wrap torchvision's `SSD` module."""
        super().__init__()
        self.network: Any = network
        self.labels = labels
        width, height = network.transform.fixed_size
        self.input_spec = InputSpec(height, width, fit="stretch")
        self._coder = BoxCoder(tuple(network.box_coder.weights))

    def preprocess(self, canvases: Tensor, fits: Sequence[Fit] | None = None) -> Tensor:
        """(B, H, W, 3) uint8 canvases to (B, 3, H, W) floats, normalised as torchvision does."""
        images = super().preprocess(canvases, fits)
        mean, std = (images.new_tensor(v) for v in _normalisation(self.network))
        normal: Tensor = (images - mean[:, None, None]) / std[:, None, None]
        return normal

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes, (B, A, 4) float32 xyxy in canvas pixels, and class logits, (B, A, C) float32."""
        maps = self._maps(images)
        outputs = self.network.head(maps)
        sizes = [tuple(images.shape[-2:])] * len(images)
        anchors = torch.stack(self.network.anchor_generator(ImageList(images, sizes), float_shapes(maps)))
        boxes = self._coder.decode(outputs["bbox_regression"].float(), anchors)
        return boxes, outputs["cls_logits"].float()

    def count_boxes(self, images: Tensor) -> int:
        """See `Detector.count_boxes`: the default boxes."""
        return int(self.network.head(self._maps(images[:1]))["cls_logits"].shape[1])

    def _maps(self, images: Tensor) -> list[Tensor]:
        features = self.network.backbone(images)
        return [features] if isinstance(features, Tensor) else list(features.values())

    def decode(
        self, raw: tuple[Tensor, Tensor], fits: Sequence[Fit], options: DetectOptions
    ) -> list[Detections]:
        """See `Detector.decode`. As in torchvision, the best few hundred boxes of each class compete."""
        boxes, logits = raw
        assert len(boxes) == len(fits)
        limit = boxes.new_tensor([self.input_spec.width, self.input_spec.height] * 2)
        boxes = boxes.clamp(min=0).minimum(limit)
        scores = logits.softmax(dim=-1)
        scores[..., 0] = -1.0  # The background is no detection.
        return select_batch(boxes, scores, options, candidates_per_class=self.network.topk_candidates)


def float_shapes(maps: Sequence[Tensor]) -> list[Tensor]:
    """Stand-ins of the feature maps' shapes for anchor generators, which take on the dtype of what they see.

    In bfloat16 an anchor's coordinates would be off by several pixels. They hold no memory.
    """
    return [feature.new_empty(1, dtype=torch.float32).expand(feature.shape) for feature in maps]


def _normalisation(network: nn.Module) -> tuple[list[float], list[float]]:
    transform: Any = network.transform
    return transform.image_mean, transform.image_std
