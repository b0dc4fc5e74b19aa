"""`tiny`: a small YOLOv3-style detector made for CPUs.

A Darknet-like body of residual blocks, and three heads at strides 8, 16 and 32 with three anchors each
(YOLOv3, sections 2.1 to 2.4). Plain 3x3 convolutions are used throughout: on a CPU core they reach several
times the arithmetic rate of depthwise ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvcore.detect.base import TrainableDetector
from cvcore.detect.truth import Truth
from cvcore.detect.yolo_loss import YoloLossOptions, yolo_loss
from cvcore.image.fit import Fit
from cvcore.ops.anchors import decode_head
from cvcore.ops.boxes import select_batch
from cvcore.scenes.parts import PART_NAMES
from cvcore.types import Detections, DetectOptions, InputSpec

STRIDES = (8, 16, 32)
SCALE_XY = 2.0
"""Centres reach half a cell beyond their own, so that neighbouring cells can be responsible too."""

LOSS = YoloLossOptions()

AnchorSet = tuple[tuple[float, float], ...]
ANCHORS: tuple[AnchorSet, ...] = (
    ((17.0, 17.0), (23.0, 23.0), (29.0, 28.0)),
    ((23.0, 43.0), (44.0, 23.0), (35.0, 34.0)),
    ((44.0, 44.0), (57.0, 55.0), (78.0, 77.0)),
)
"""Widths and heights, canvas pixels, for each stride; of the sample scenes at 320 x 320."""


def conv(in_channels: int, out_channels: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm and Darknet's leaky rectifier."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(0.1, inplace=True),
    )


class Residual(nn.Module):
    """Darknet-53's block: 1x1 to half the channels, 3x3 back, and the input added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.narrow = conv(channels, channels // 2, 1)
        self.widen = conv(channels // 2, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = x + self.widen(self.narrow(x))
        return added


class Body(nn.Module):
    """Five halvings with residual blocks between them; gives the maps at strides 8, 16 and 32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv(3, width, 3, stride=2), conv(width, 2 * width, 3, stride=2), Residual(2 * width)
        )
        self.stage3 = self._stage(2 * width, 4 * width, blocks=2)
        self.stage4 = self._stage(4 * width, 8 * width, blocks=2)
        self.stage5 = self._stage(8 * width, 16 * width, blocks=1)

    @staticmethod
    def _stage(in_channels: int, out_channels: int, *, blocks: int) -> nn.Sequential:
        return nn.Sequential(
            conv(in_channels, out_channels, 3, stride=2), *(Residual(out_channels) for _ in range(blocks))
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        map8 = self.stage3(self.stem(x))
        map16 = self.stage4(map8)
        return map8, map16, self.stage5(map16)


class TinyDetector(TrainableDetector):
    """The network, its decoding, and the configuration that rebuilds it.

    Attributes:
        config: JSON-able keyword arguments of `build_tiny`, labels apart.
        anchors: for each stride of STRIDES, its anchors' widths and heights, canvas pixels.
    """

    def __init__(
        self, labels: tuple[str, ...], *, width: int, input_size: int, anchors: tuple[AnchorSet, ...]
    ) -> None:
        super().__init__()
        self.labels = labels
        self.input_spec = InputSpec(input_size, input_size)
        self.anchors = anchors
        self.config: dict[str, Any] = {
            "width": width,
            "input_size": input_size,
            "anchors": [[list(pair) for pair in scale] for scale in anchors],
        }
        self.body = Body(width)
        self.reduce5 = conv(16 * width, 8 * width, 1)
        self.lift5 = conv(8 * width, 4 * width, 1)
        self.reduce4 = conv(12 * width, 4 * width, 1)
        self.lift4 = conv(4 * width, 2 * width, 1)
        self.reduce3 = conv(6 * width, 2 * width, 1)
        channels = ((2 * width, 4 * width), (4 * width, 8 * width), (8 * width, 8 * width))
        self.heads = nn.ModuleList(
            nn.Sequential(conv(narrow, wide, 3), nn.Conv2d(wide, len(scale) * (5 + len(labels)), 1))
            for (narrow, wide), scale in zip(channels, anchors, strict=True)
        )
        self._start_heads()

    def _start_heads(self) -> None:
        """Start with every box unlikely, so that background does not drown the first steps."""
        for head, scale in zip(self.heads, self.anchors, strict=True):
            assert isinstance(head, nn.Sequential)
            last = head[-1]
            assert isinstance(last, nn.Conv2d)
            assert last.bias is not None
            nn.init.normal_(last.weight, std=0.01)
            with torch.no_grad():
                bias = last.bias.view(len(scale), -1)
                bias.zero_()
                bias[:, 4], bias[:, 5:] = -4.6, -1.5

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) floats, 0 to 1, to raw maps at strides 8, 16, 32: (B, A * (5 + C), H / s, W / s)."""
        map8, map16, map32 = self.body(images.contiguous(memory_format=torch.channels_last))
        deep = self.reduce5(map32)
        middle = self.reduce4(torch.cat([F.interpolate(self.lift5(deep), scale_factor=2.0), map16], dim=1))
        fine = self.reduce3(torch.cat([F.interpolate(self.lift4(middle), scale_factor=2.0), map8], dim=1))
        first, second, third = self.heads
        return first(fine), second(middle), third(deep)

    def decode(
        self, raw: tuple[Tensor, ...], fits: Sequence[Fit], options: DetectOptions
    ) -> list[Detections]:
        """See `Detector.decode`. `raw` is what `forward` gave; `fits` is not needed."""
        assert raw[0].shape[0] == len(fits)
        decoded = [
            decode_head(level, level.new_tensor(scale).float(), stride=stride, scale_xy=SCALE_XY)
            for level, scale, stride in zip(raw, self.anchors, STRIDES, strict=True)
        ]
        boxes = torch.cat([level_boxes for level_boxes, _ in decoded], dim=1)
        scores = torch.cat([level_scores for _, level_scores in decoded], dim=1)
        return select_batch(boxes, scores, options)

    def losses(self, images: Tensor, truth: Truth) -> dict[str, Tensor]:
        """See `TrainableDetector.losses` and `yolo_loss`."""
        raw = self(images)
        anchors = [truth.boxes.new_tensor(scale) for scale in self.anchors]
        loss = yolo_loss(raw, truth, anchors, STRIDES, scale_xy=SCALE_XY, options=LOSS)
        return {
            "total": loss.total,
            "box": loss.box,
            "objectness": loss.objectness,
            "classes": loss.classes,
        }


def build_tiny(
    labels: tuple[str, ...] | None = None,
    *,
    width: int = 16,
    input_size: int = 320,
    anchors: Sequence[Sequence[Sequence[float]]] = ANCHORS,
) -> TinyDetector:
    """Build an untrained `tiny`.

    Args:
        labels: class names; the sample scenes' parts by default.
        width: channels of the first convolution; all others are multiples.
        input_size: side of the square canvas, pixels; a multiple of 32.
        anchors: three sets, for strides 8, 16 and 32, of (width, height) in canvas pixels.

    Raises:
        ValueError: for a configuration that no network can have.
    """
    if width < 2 or width % 2:
        raise ValueError(f"width must be an even number from 2 up, got {width}")
    if input_size < 32 or input_size % 32:
        raise ValueError(f"input_size must be a multiple of 32, got {input_size}")
    sets = tuple(tuple((float(w), float(h)) for w, h in scale) for scale in anchors)
    if len(sets) != len(STRIDES) or not all(sets):
        raise ValueError(
            f"anchors must be {len(STRIDES)} sets, one for each stride {STRIDES}, got {len(sets)}"
        )
    model = TinyDetector(labels or PART_NAMES, width=width, input_size=input_size, anchors=sets)
    return model.to(memory_format=torch.channels_last)
