"""U-Net's layers, as figure 1 of its paper has them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

DEPTHS = range(1, 7)
_DROPOUT = 0.5


class UNetNetwork(nn.Module):
    """A contracting path, an expanding one, and what is handed across.

    Unpadded, an input side must be `input_side` of some output's.

    Attributes:
        padded: whether convolutions keep the size.
        depth: how often the picture is halved.
    """

    def __init__(
        self, in_channels: int, num_classes: int, *, width: int, depth: int, padded: bool, norm: bool
    ) -> None:
        """See `cvcore.segment.unet.build_unet`."""
        super().__init__()
        if depth not in DEPTHS:
            raise ValueError(f"depth must be {DEPTHS.start} to {DEPTHS.stop - 1}, got {depth}")
        self.padded, self.depth = padded, depth
        channels = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            double_conv(before, after, padded=padded, norm=norm)
            for before, after in zip([in_channels, *channels], channels, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(_DROPOUT)
        pairs = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.rise = nn.ModuleList(nn.ConvTranspose2d(before, after, 2, stride=2) for before, after in pairs)
        self.up = nn.ModuleList(
            double_conv(before, after, padded=padded, norm=norm) for before, after in pairs
        )
        self.classes = nn.Conv2d(width, num_classes, 1)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    @property
    def lost_px(self) -> int:
        """By how much the unpadded output is smaller than the input, rows or columns; 184 at depth 4."""
        return 12 * (1 << self.depth) - 8

    def input_side(self, side: int) -> int:
        """The smallest side, rows or columns, that can be taken and gives at least `side`, pixels.

        With x pixels at the bottom the unpadded network takes 2^d x + 4 (2^d - 1) and gives
        2^d (x - 4) - 4 (2^d - 1).
        """
        step = 1 << self.depth
        if self.padded:
            return -(-side // step) * step
        bottom = -(-(side + 4 * (step - 1)) // step) + 4
        return step * bottom + 4 * (step - 1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) to logits: of H x W, or unpadded of (H - lost_px) x (W - lost_px)."""
        kept: list[Tensor] = []
        x = images
        for level, block in enumerate(self.down):
            x = block(x if not level else self.pool(x))
            if level >= self.depth - 1:
                x = self.dropout(x)
            kept.append(x)
        for rise, block, skip in zip(self.rise, self.up, reversed(kept[:-1]), strict=True):
            x = rise(x)
            x = block(torch.cat([_cropped(skip, x), x], dim=1))
        logits: Tensor = self.classes(x)
        return logits


def double_conv(before: int, after: int, *, padded: bool, norm: bool) -> nn.Sequential:
    """Two 3x3 convolutions, each with its rectifier."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers.append(nn.Conv2d(channels, after, 3, padding=int(padded), bias=not norm))
        if norm:
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _cropped(skip: Tensor, like: Tensor) -> Tensor:
    """The middle of `skip` that has the size of `like`."""
    top, left = ((a - b) // 2 for a, b in zip(skip.shape[2:], like.shape[2:], strict=True))
    return skip[:, :, top : top + like.shape[2], left : left + like.shape[3]]
