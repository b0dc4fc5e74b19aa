"""Trunks: torchvision's classifiers up to a feature map, for detectors that pool regions from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import squeezenet1_1
from torchvision.models.vgg import cfgs, make_layers

from cvcore.errors import ModelError

Backbone = Literal["vgg16", "squeezenet1_1"]

# Layers of VGG16 up to conv4_3 and conv5_3, with their rectifiers.
_VGG_DEPTH = {8: 23, 16: 30}
_SQUEEZENET_LAST_POOL = 8


class Trunk(nn.Module):
    """A feature map whose cell i has its centre at (i + 1/2) `stride` image pixels, on either axis.

    Attributes:
        backbone: torchvision's name of the classifier.
        stride: image pixels a cell.
        channels: of the map.
    """

    channels = 512

    def __init__(self, backbone: Backbone, *, stride: int = 16, frozen_convs: int = 0) -> None:
        """Build one with random weights.

        Args:
            backbone: `vgg16` ends at conv5_3 (stride 16) or conv4_3 (stride 8). `squeezenet1_1` ends at its
                last fire module; at stride 8 its last pooling keeps the resolution and what follows is
                dilated, so that a classifier's weights mean the same.
            stride: 8 or 16.
            frozen_convs: so many first convolutions do not learn (Fast R-CNN, section 4.5: the 4 before
                conv3_1); sensible only with loaded weights.

        Raises:
            ValueError: for another backbone or stride.
        """
        super().__init__()
        if backbone not in get_args(Backbone):
            raise ValueError(f"backbone must be one of {', '.join(get_args(Backbone))}, got {backbone!r}")
        if stride not in _VGG_DEPTH:
            raise ValueError(f"stride must be 8 or 16, got {stride}")
        self.backbone, self.stride = backbone, stride
        self.layers = _vgg16(stride) if backbone == "vgg16" else _squeezenet(stride)
        # SqueezeNet's first convolution and its poolings are unpadded, which moves cell 0 inwards by about
        # half a stride.
        self._pad = (stride // 2, stride // 2 - 1) * 2 if backbone == "squeezenet1_1" else (0, 0, 0, 0)
        convs = [layer for layer in self.layers.modules() if isinstance(layer, nn.Conv2d)]
        for conv in convs[:frozen_convs]:
            conv.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised images to (B, channels, H / stride, W / stride)."""
        features: Tensor = self.layers(F.pad(images, self._pad))
        return features

    def load(self, state: Mapping[str, Tensor], *, name: str) -> None:
        """Copy the layers' weights from a classifier's state dict; see `load_features`."""
        load_features(self.layers, state, name=name, backbone=self.backbone)


def load_features(
    layers: nn.Module, state: Mapping[str, Tensor], *, name: str, backbone: str, prefix: str = "features."
) -> None:
    """Copy what torchvision calls `features` from a classifier's state dict.

    Raises:
        ModelError: naming the tensors that `state` lacks or has in another shape; nothing is then copied.
    """
    own = layers.state_dict()
    wrong = [
        f"{prefix}{key} {tuple(state[prefix + key].shape) if prefix + key in state else 'missing'} "
        f"instead of {tuple(tensor.shape)}"
        for key, tensor in own.items()
        if prefix + key not in state or state[prefix + key].shape != tensor.shape
    ]
    if wrong:
        raise ModelError(
            f"{name} does not fit the backbone {backbone}: {len(wrong)} of its {len(own)} tensors differ "
            f"({'; '.join(wrong[:3])}). Pass torchvision's {backbone}, or build the model with the backbone "
            "that the weights are of"
        )
    layers.load_state_dict({key: state[prefix + key] for key in own})


@torch.no_grad()
def copy_linear(layer: nn.Linear, state: Mapping[str, Tensor], key: str) -> bool:
    """Copy `key`.weight and `key`.bias of `state` if they are there and fit; says whether."""
    weight, bias = state.get(f"{key}.weight"), state.get(f"{key}.bias")
    if weight is None or bias is None or weight.shape != layer.weight.shape:
        return False
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
    return True


def _vgg16(stride: int) -> nn.Sequential:
    layers: nn.Sequential = make_layers(cfgs["D"], batch_norm=False)[: _VGG_DEPTH[stride]]
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            assert layer.bias is not None
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return layers


def _squeezenet(stride: int) -> nn.Sequential:
    layers: nn.Sequential = squeezenet1_1(weights=None).features
    if stride == 8:
        layers[_SQUEEZENET_LAST_POOL] = nn.MaxPool2d(3, stride=1, padding=1)
        for fire in layers[_SQUEEZENET_LAST_POOL + 1 :]:
            wide: Any = fire.expand3x3
            wide.dilation, wide.padding = (2, 2), (2, 2)
    return layers
