"""DeconvNet's layers: convolutions and poolings, and their mirror image (Noh et al. 2015, table 2)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and number of convolutions before each pooling: VGG16's."""

FC_CHANNELS = 4096


class Unpooling(nn.Module):
    """Puts every value back where its pooling took it from; all else is 0 (section 3.2.1)."""

    def forward(self, x: Tensor, indices: Tensor) -> Tensor:
        """(B, C, h, w) values and `MaxPool2d`'s indices into maps of twice the sides to (B, C, 2h, 2w)."""
        batch, channels, height, width = x.shape
        flat = x.new_zeros(batch, channels, 4 * height * width)
        flat.scatter_(2, indices.flatten(2), x.flatten(2))
        return flat.view(batch, channels, 2 * height, 2 * width)


class DeconvNetwork(nn.Module):
    """From an image to one vector, and from that to a map of classes.

    Attributes:
        side: of the images that it takes, pixels.
    """

    def __init__(self, num_classes: int, *, side: int, depth: int, width: float) -> None:
        """See `cvcore.segment.deconvnet.build_deconvnet`."""
        super().__init__()
        self.side = side
        stages = [(max(1, round(wide * width)), count) for wide, count in STAGES[:depth]]
        vector = max(1, round(FC_CHANNELS * width))
        window = side // 2**depth
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        before = 3
        for level, (wide, count) in enumerate(stages):
            self.down.append(_stage([before] + [wide] * count))
            after = before if level else wide
            self.up.insert(0, _stage([wide] * count + [after], transposed=True))
            before = wide
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.unpool = Unpooling()
        self.encode = nn.Sequential(
            *_unit(nn.Conv2d(before, vector, window, bias=True)), *_unit(nn.Conv2d(vector, vector, 1))
        )
        self.decode = nn.Sequential(*_unit(nn.ConvTranspose2d(vector, before, window)))
        self.classes = nn.Conv2d(stages[0][0], num_classes, 1)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, side, side) to (B, C, side, side) logits."""
        x, places = images, []
        for stage in self.down:
            x, indices = self.pool(stage(x))
            places.append(indices)
        x = self.decode(self.encode(x))
        for stage, indices in zip(self.up, reversed(places), strict=True):
            x = stage(self.unpool(x, indices))
        logits: Tensor = self.classes(x)
        return logits


def _stage(channels: list[int], *, transposed: bool = False) -> nn.Sequential:
    """3x3 (transposed) convolutions that keep the size."""
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        conv = (
            nn.ConvTranspose2d(before, after, 3, padding=1)
            if transposed
            else nn.Conv2d(before, after, 3, padding=1)
        )
        layers += _unit(conv)
    return nn.Sequential(*layers)


def _unit(layer: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    """A layer with the batch norm (section 4.2.1) and rectifier that follow it."""
    return [layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU(inplace=True)]


def vgg16_names(stages: int) -> list[tuple[str, int]]:
    """torchvision's number of each convolution (`features.N`), and which of `down` it is, without norms."""
    found, number = [], 0
    for stage, (_, count) in enumerate(STAGES[:stages]):
        for unit in range(count):
            found.append((f"down.{stage}.{3 * unit}", number))
            number += 2
        number += 1
    return found


@torch.no_grad()
def copy_vgg16(network: DeconvNetwork, state: Mapping[str, Tensor]) -> None:
    """Copy the convolutions of VGG16's state dict, whose shapes must be the network's."""
    for name, number in vgg16_names(len(network.down)):
        layer = network.get_submodule(name)
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        layer.weight.copy_(state[f"features.{number}.weight"])
        layer.bias.copy_(state[f"features.{number}.bias"])
