"""FCN-32s, FCN-16s and FCN-8s (Long et al. 2015, Fully Convolutional Networks) on any trunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvcore.detect.labels import VOC_LABELS
from cvcore.segment.base import Segmenter
from cvcore.segment.fcn_layers import BODIES, ConvolvedFc, FcnBackbone, upsampling
from cvcore.segment.losses import SegmentLossOptions
from cvcore.types import InputSpec

Stride = Literal[32, 16, 8]

DEEPEST = 32
FC_CHANNELS = 4096
SEGMENT_VOC_LABELS = ("background", *VOC_LABELS)
SMALLEST_PX = 32


class Fcn(Segmenter):
    """A trunk, class scores of its last map, and skips that add those of finer pooled maps.

    The authors pad images by 100 px and crop what comes out; here the convolutions that were linear layers
    are padded: away from the border that gives the same, on cells that begin at the image's corner.
    """

    backbone_parts = ("trunk",)

    def __init__(
        self,
        labels: tuple[str, ...],
        *,
        stride: int,
        input_size: int,
        backbone: FcnBackbone,
        width: float,
        loss_options: SegmentLossOptions,
    ) -> None:
        super().__init__(labels, input_spec=InputSpec(input_size, input_size), loss_options=loss_options)
        body = BODIES[backbone]
        self.trunk = body.build()
        self.stride_px = DEEPEST
        skips = [each for each in (16, 8) if each >= stride]
        # Each upsampling mixes cells next to each other; a cell's centre is off by a few pixels.
        self.margin_px = body.reach_px + DEEPEST + sum(skips) + 8
        deep = self.trunk.channels[max(self.trunk.channels)]
        channels = max(1, round(FC_CHANNELS * width))
        self.fc: nn.Module = ConvolvedFc(deep, channels, body.fc_px) if body.fc_px else nn.Dropout(0.5)
        count = len(labels)
        self.score = nn.Conv2d(channels if body.fc_px else deep, count, 1)
        scored = {str(each): nn.Conv2d(self.trunk.channels[each // 2], count, 1) for each in skips}
        self.skips = nn.ModuleDict(scored)
        self.rise = nn.ModuleDict({str(each): upsampling(count, 2, learns=True) for each in skips})
        self.last = upsampling(count, stride, learns=False)
        for layer in (self.score, *scored.values()):
            nn.init.zeros_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        self._pool_px = body.pool_px
        self._linear = body.linear
        self.config = {
            "stride": stride,
            "input_size": input_size,
            "backbone": backbone,
            "width": width,
            "loss": loss_options.loss,
            "class_weights": list(loss_options.class_weights),
        }

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images of any size to (B, C, H, W) float32 logits."""
        height, width = images.shape[2:]
        images = F.pad(images, (0, -width % DEEPEST, 0, -height % DEEPEST))
        maps: dict[int, Tensor] = self.trunk(images.contiguous(memory_format=torch.channels_last))
        deepest = maps[DEEPEST] if DEEPEST in maps else self._pooled(maps, DEEPEST)
        scores = self.score(self.fc(deepest))
        for name, skip in self.skips.items():
            scores = self.rise[name](scores) + skip(self._pooled(maps, int(name)))
        logits: Tensor = self.last(scores)
        return logits[:, :, :height, :width].float()

    def _pooled(self, maps: Mapping[int, Tensor], stride: int) -> Tensor:
        """The classifier's pooling before the layers of `stride`."""
        return F.max_pool2d(maps[stride // 2], self._pool_px, 2, ceil_mode=True)

    def load_backbone(self, state: Mapping[str, Tensor], *, name: str) -> None:
        """Start from a torchvision classifier's weights, its first two linear layers too where they fit.

        Raises:
            WeightsError: naming what is missing or of another shape.
        """
        self.trunk.load(state, name=name)
        if isinstance(self.fc, ConvolvedFc):
            self.fc.load_linear(state, self._linear)


def build_fcn(
    labels: tuple[str, ...] | None = None,
    *,
    stride: Stride = 8,
    input_size: int = 512,
    backbone: FcnBackbone = "vgg16",
    width: float = 1.0,
    loss: str = "cross_entropy",
    class_weights: Sequence[float] = (),
) -> Fcn:
    """Build an untrained FCN; best it starts from a classifier's weights (`load_backbone`).

    Args:
        labels: class names, the background among them; Pascal VOC's and the background by default.
        stride: 32, 16 or 8: of the finest scores, pixels.
        input_size: side of the canvas that jobs draw images on, pixels; the network takes any.
        backbone: the classifier; the paper's are VGG16, AlexNet and GoogLeNet.
        width: share of the 4,096 channels that the layers after VGG16's or AlexNet's convolutions have.
        loss, class_weights: see `SegmentLossOptions`.

    Raises:
        ValueError: for a configuration that no network can have.
    """
    if stride not in get_args(Stride):
        raise ValueError(f"stride must be 32, 16 or 8, got {stride}")
    if backbone not in BODIES:
        raise ValueError(f"backbone must be one of {', '.join(BODIES)}, got {backbone!r}")
    if input_size < SMALLEST_PX:
        raise ValueError(f"input_size must be at least {SMALLEST_PX} px, got {input_size}")
    if not width > 0:
        raise ValueError(f"width must be above 0, got {width}")
    model = Fcn(
        labels or SEGMENT_VOC_LABELS,
        stride=stride,
        input_size=input_size,
        backbone=backbone,
        width=width,
        loss_options=SegmentLossOptions(loss, tuple(class_weights)),
    )
    return model.to(memory_format=torch.channels_last)
