"""What makes a classifier fully convolutional: linear layers as convolutions, learnable upsampling."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn

from cvcore.backbones.alexnet import build_alexnet
from cvcore.backbones.build import build_backbone
from cvcore.backbones.trunk import Trunk

FcnBackbone = Literal["vgg16", "alexnet", "googlenet", "squeezenet1_1"]
_DROPOUT = 0.5


def _googlenet() -> Trunk:
    # Imported when needed: it brings torchvision's models with it, which cost a worker seconds.
    from cvcore.backbones.googlenet import build_googlenet

    return build_googlenet()


@dataclass(frozen=True, slots=True)
class Body:
    """A classifier as FCN takes it.

    Attributes:
        build: the trunk.
        pool_px: side of the windows of its poolings.
        fc_px: side of fc6's window on the last pooled map; 0 where there are no linear layers to convert.
        linear: names of fc6 and fc7 in torchvision's classifier.
        reach_px: half of the receptive field of a cell of the deepest layer, pixels.
    """

    build: Callable[[], Trunk]
    pool_px: int
    fc_px: int
    linear: tuple[str, ...]
    reach_px: int


BODIES: Mapping[str, Body] = MappingProxyType(
    {
        "vgg16": Body(lambda: build_backbone("vgg16"), 2, 7, ("classifier.0", "classifier.3"), 202),
        "alexnet": Body(build_alexnet, 3, 6, ("classifier.1", "classifier.4"), 194),
        "googlenet": Body(_googlenet, 3, 0, (), 190),
        "squeezenet1_1": Body(lambda: build_backbone("squeezenet1_1"), 3, 0, (), 120),
    }
)


class ConvolvedFc(nn.Sequential):
    """fc6 and fc7 as convolutions, of any number of channels; padded, so that they keep the map's size."""

    def __init__(self, in_channels: int, out_channels: int, side: int) -> None:
        super().__init__(
            nn.ZeroPad2d(((side - 1) // 2, side // 2) * 2),
            nn.Conv2d(in_channels, out_channels, side),
            nn.ReLU(inplace=True),
            nn.Dropout(_DROPOUT),
            nn.Conv2d(out_channels, out_channels, 1),
            nn.ReLU(inplace=True),
            nn.Dropout(_DROPOUT),
        )
        for layer in self:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    @torch.no_grad()
    def load_linear(self, state: Mapping[str, Tensor], names: tuple[str, ...]) -> bool:
        """Copy linear layers' weights, whose rows are windows; says whether they were there and fit."""
        layers = [layer for layer in self if isinstance(layer, nn.Conv2d)]
        weights = [state.get(f"{name}.weight") for name in names]
        biases = [state.get(f"{name}.bias") for name in names]
        if not all(
            weight is not None and bias is not None and weight.numel() == layer.weight.numel()
            for layer, weight, bias in zip(layers, weights, biases, strict=True)
        ):
            return False
        for layer, weight, bias in zip(layers, weights, biases, strict=True):
            assert weight is not None
            assert bias is not None
            assert layer.bias is not None
            layer.weight.copy_(weight.reshape(layer.weight.shape))
            layer.bias.copy_(bias)
        return True


def upsampling(channels: int, factor: int, *, learns: bool) -> nn.ConvTranspose2d:
    """A transposed convolution of stride `factor` that begins as bilinear interpolation (section 3.3)."""
    layer = nn.ConvTranspose2d(channels, channels, 2 * factor, stride=factor, padding=factor // 2, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        for channel in range(channels):
            layer.weight[channel, channel] = bilinear_kernel(factor)
    return layer.requires_grad_(learns)


def bilinear_kernel(factor: int) -> Tensor:
    """The tent that spreads a cell over its neighbours, (2 factor, 2 factor); for an even factor."""
    centre = factor - 0.5
    tent = 1 - (torch.arange(2 * factor) - centre).abs() / factor
    return tent[:, None] * tent[None]
