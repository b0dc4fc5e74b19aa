"""Classifiers as feature extractors of small crops (R-CNN)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from torch import Tensor, nn
from torchvision.models import alexnet, squeezenet1_1

from cvcore.backbones.trunk import copy_linear
from cvcore.checkpoint import load_into

CropBackbone = Literal["alexnet", "squeezenet1_1"]

_POOL5, _FC7 = 256 * 6 * 6, 4096
_SQUEEZENET_CHANNELS = 512


class CropFeatures(nn.Module):
    """Features of crops at two depths.

    `alexnet` gives pool5 (9,216 values) and fc7 (4,096). `squeezenet1_1` has no fully connected layers: both
    are its last map, averaged (512).

    Attributes:
        backbone: torchvision's name of the classifier.
        pooled_size, size: values of the shallow and the deep feature.
    """

    def __init__(self, backbone: CropBackbone, *, dropout: float) -> None:
        super().__init__()
        if backbone not in get_args(CropBackbone):
            raise ValueError(f"backbone must be one of {', '.join(get_args(CropBackbone))}, got {backbone!r}")
        self.backbone = backbone
        if backbone == "alexnet":
            network = alexnet(weights=None, dropout=dropout)
            self.features, self.pool = network.features, network.avgpool
            self.connected = nn.Sequential(*network.classifier[:6])
            self.pooled_size, self.size = _POOL5, _FC7
        else:
            self.features, self.pool = squeezenet1_1(weights=None).features, nn.AdaptiveAvgPool2d(1)
            self.connected = nn.Sequential()
            self.pooled_size = self.size = _SQUEEZENET_CHANNELS

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, S, S) normalised crops to (N, pooled_size) and (N, size) features."""
        pooled = self.pool(self.features(crops)).flatten(1)
        return pooled, self.connected(pooled)

    def load(self, state: Mapping[str, Tensor], *, name: str) -> None:
        """Copy a classifier's weights, its last layer apart.

        Raises:
            WeightsError: naming what is missing or of another shape; nothing is changed then.
        """
        own = self.state_dict()
        found = {
            key: state.get(key) if key.startswith("features.") else tensor for key, tensor in own.items()
        }
        load_into(self, {key: tensor for key, tensor in found.items() if tensor is not None}, name=name)
        for key, layer in self.connected.named_children():
            if isinstance(layer, nn.Linear):
                copy_linear(layer, state, f"classifier.{key}")
