"""SqueezeNet 1.1's convolutions (Iandola et al. 2016): a trunk for CPUs, 0.7 million parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvcore.backbones.trunk import Trunk


class Fire(nn.Module):
    """A 1x1 squeeze, then 1x1 and 3x3 expansions side by side (section 3.2)."""

    def __init__(self, in_channels: int, squeezed: int, expanded: int, *, dilation: int = 1) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=dilation, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, 2 * expanded, H, W)."""
        small = F.relu(self.squeeze(x), inplace=True)
        return F.relu(torch.cat([self.expand1x1(small), self.expand3x3(small)], dim=1), inplace=True)


def build_squeezenet1_1(last_stride: int = 16) -> Trunk:
    """Up to the last fire module, giving the maps of strides 4, 8 and 16.

    At a `last_stride` of 8 the last four fire modules are dilated and run at stride 8, as if the third
    pooling moved by one cell: every other cell, in both directions, has the value that it would have at 16.

    The first convolution and the second pooling are padded, which torchvision's classifier does not: so maps
    have half the side of the map before, rounded up, and cell (i, j) of the map of stride s lies over pixel
    ((j + 0.5) s, (i + 0.5) s) to within 2.5 px. Away from the border outputs are the classifier's, shifted.
    """
    dense = last_stride == 8
    spread = 2 if dense else 1
    features = nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(64, 16, 64),
        Fire(128, 16, 64),
        nn.MaxPool2d(3, 2, padding=1),
        Fire(128, 32, 128),
        Fire(256, 32, 128),
        nn.MaxPool2d(3, 1, padding=1) if dense else nn.MaxPool2d(3, 2, ceil_mode=True),
        Fire(256, 48, 192, dilation=spread),
        Fire(384, 48, 192, dilation=spread),
        Fire(384, 64, 256, dilation=spread),
        Fire(512, 64, 256, dilation=spread),
    )
    for layer in features.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    if dense:
        return Trunk(features, taps={4: 4, 8: 12}, channels={4: 128, 8: 512})
    return Trunk(features, taps={4: 4, 8: 7, 16: 12}, channels={4: 128, 8: 256, 16: 512})
