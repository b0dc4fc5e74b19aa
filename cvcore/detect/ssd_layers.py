"""The layers that SSD puts on a classifier's trunk (Liu et al. 2016, sections 2.1 and 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cvcore.detect.ssd_layout import ExtraMap
from cvcore.errors import WeightsError

FC_CHANNELS = 1024
_FC6, _FC7 = "classifier.0", "classifier.3"
_FC6_SHAPE, _FC7_SHAPE = (4096, 512 * 7 * 7), (4096, 4096)


class L2Norm(nn.Module):
    """Each place's vector scaled to length 1, then each channel by a learned factor (section 3.1)."""

    def __init__(self, channels: int, *, scale: float = 20.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        return F.normalize(x, dim=1) * self.scale[:, None, None]


class AtrousFc(nn.Module):
    """VGG16's fc6 and fc7 as convolutions after a pool5 that keeps the map's size (section 3)."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.pool5 = nn.MaxPool2d(3, 1, padding=1)
        self.fc6 = nn.Conv2d(in_channels, FC_CHANNELS, 3, padding=6, dilation=6)
        self.fc7 = nn.Conv2d(FC_CHANNELS, FC_CHANNELS, 1)
        start_xavier([self.fc6, self.fc7])

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, 1024, H, W)."""
        x = F.relu(self.fc6(self.pool5(x)), inplace=True)
        return F.relu(self.fc7(x), inplace=True)

    @torch.no_grad()
    def load_linear(self, state: Mapping[str, Tensor], *, name: str) -> bool:
        """Subsample a VGG16 classifier's linear layers: every 4th output, every 3rd row and column of 7x7.

        Returns:
            False, with nothing changed, where `state` holds neither layer.

        Raises:
            WeightsError: naming a tensor that is missing or of another shape.
        """
        wanted = {
            f"{_FC6}.weight": _FC6_SHAPE,
            f"{_FC6}.bias": _FC6_SHAPE[:1],
            f"{_FC7}.weight": _FC7_SHAPE,
            f"{_FC7}.bias": _FC7_SHAPE[:1],
        }
        if not any(key in state for key in wanted):
            return False
        for key, shape in wanted.items():
            found = tuple(state[key].shape) if key in state else "nothing"
            if found != shape:
                raise WeightsError(f"{name} do not fit VGG16's fc6 and fc7: {key} is {found}, not {shape}")
        full = state[f"{_FC6}.weight"].view(4096, 512, 7, 7)
        self.fc6.weight.copy_(full[::4, :, ::3, ::3])
        self.fc6.bias.copy_(state[f"{_FC6}.bias"][::4])  # type: ignore[union-attr]
        self.fc7.weight.copy_(state[f"{_FC7}.weight"][::4, ::4, None, None])
        self.fc7.bias.copy_(state[f"{_FC7}.bias"][::4])  # type: ignore[union-attr]
        return True


class ExtraLayers(nn.Module):
    """The convolutions after the trunk, conv8_1 and on."""

    def __init__(self, in_channels: int, plan: Sequence[ExtraMap]) -> None:
        super().__init__()
        blocks = []
        for extra in plan:
            narrow = nn.Conv2d(in_channels, extra.narrow, 1)
            wide = nn.Conv2d(extra.narrow, extra.wide, extra.kernel, extra.stride, extra.padding)
            start_xavier([narrow, wide])
            blocks.append(nn.Sequential(narrow, nn.ReLU(inplace=True), wide, nn.ReLU(inplace=True)))
            in_channels = extra.wide
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, in_channels, H, W) to the extra maps, finest first."""
        maps = []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return maps


class Heads(nn.Module):
    """A 3x3 convolution on each map: `columns` values for each of its cells' default boxes."""

    def __init__(self, channels: Sequence[int], per_cell: Sequence[int], columns: int) -> None:
        super().__init__()
        self.columns = columns
        self.levels = nn.ModuleList(
            nn.Conv2d(wide, boxes * columns, 3, padding=1)
            for wide, boxes in zip(channels, per_cell, strict=True)
        )
        start_xavier(self.levels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps, each (B, channels, H, W), to (B, N, columns) float32, in the order of `default_boxes`."""
        outputs = [level(x).permute(0, 2, 3, 1) for level, x in zip(self.levels, maps, strict=True)]
        return torch.cat([out.reshape(len(out), -1, self.columns) for out in outputs], dim=1).float()


def start_xavier(layers: Iterable[nn.Module]) -> None:
    """Start new convolutions as the paper does: Glorot's uniform weights (section 3) and no bias."""
    for layer in layers:
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
