"""A trunk: a classifier's layers before its pooling, and the maps that detectors take from them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cvcore.checkpoint import load_into


class Trunk(nn.Module):
    """Layers in a row, some of whose outputs are kept.

    Parameters have torchvision's names (`features.0.weight`), so that its classifiers' weights fit.

    Attributes:
        features: the layers.
        channels: of each map, by its stride in pixels, finest first.
        last_stride: of the coarsest map.
    """

    def __init__(
        self, features: nn.Sequential, *, taps: Mapping[int, int], channels: Mapping[int, int]
    ) -> None:
        """`taps` gives the layer whose output is the map, by stride."""
        super().__init__()
        self.features = features
        self.channels = dict(channels)
        self.last_stride = max(channels)
        self._strides = {layer: stride for stride, layer in taps.items()}

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """(B, 3, H, W) normalised images to maps by stride: (B, channels[stride], rows, columns)."""
        maps: dict[int, Tensor] = {}
        x = images
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self._strides:
                maps[self._strides[index]] = x
        return maps

    def last_map(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images to the coarsest map alone."""
        features: Tensor = self.features(images)
        return features

    def freeze_convs(self, count: int) -> None:
        """Let the first `count` convolutions not learn; sensible only with loaded weights."""
        convs = [layer for layer in self.features.modules() if isinstance(layer, nn.Conv2d)]
        for conv in convs[:count]:
            conv.requires_grad_(False)

    def map_sides(self, side: int) -> dict[int, int]:
        """Rows (or columns) of each map, by stride, of an image with `side` pixels that way."""
        sides: dict[int, int] = {}
        for index, layer in enumerate(self.features):
            if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)):
                side = _output_side(layer, side)
            if index in self._strides:
                sides[self._strides[index]] = side
        return sides

    def load(self, state: Mapping[str, Tensor], *, name: str) -> None:
        """Copy the trunk's layers from a torchvision classifier's state dict; other layers are left out.

        Raises:
            WeightsError: naming the tensors that are missing or of another shape; nothing is changed then.
        """
        load_into(self, {key: state[key] for key in self.state_dict() if key in state}, name=name)


@torch.no_grad()
def copy_linear(layer: nn.Linear, state: Mapping[str, Tensor], key: str) -> bool:
    """Copy `key`.weight and `key`.bias of `state` if they are there and fit; says whether."""
    weight, bias = state.get(f"{key}.weight"), state.get(f"{key}.bias")
    if weight is None or bias is None or weight.shape != layer.weight.shape:
        return False
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
    return True


def _output_side(layer: nn.Conv2d | nn.MaxPool2d, side: int) -> int:
    kernel, stride, padding = (_single(v) for v in (layer.kernel_size, layer.stride, layer.padding))
    steps = (side + 2 * padding - kernel) / stride
    if not (isinstance(layer, nn.MaxPool2d) and layer.ceil_mode):
        return math.floor(steps) + 1
    rounded = math.ceil(steps) + 1
    # A last window that would begin in the padding is left out, as torch does.
    return rounded - 1 if (rounded - 1) * stride >= side + padding else rounded


def _single(value: object) -> int:
    number = value[0] if isinstance(value, tuple) else value
    assert isinstance(number, int)
    return number
