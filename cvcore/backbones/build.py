"""The trunks by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, get_args

from cvcore.backbones.squeezenet import build_squeezenet1_1
from cvcore.backbones.trunk import Trunk
from cvcore.backbones.vgg import build_vgg16

BackboneName = Literal["vgg16", "squeezenet1_1"]

LAST_STRIDES = (8, 16)

_BUILDERS: Mapping[BackboneName, Callable[[int], Trunk]] = MappingProxyType(
    {"vgg16": build_vgg16, "squeezenet1_1": build_squeezenet1_1}
)


def build_backbone(name: BackboneName, *, last_stride: int = 16) -> Trunk:
    """Build a trunk with random weights; it reads images normalised by `normalize.imagenet_floats`.

    Args:
        name: torchvision's name of the classifier.
        last_stride: 8 or 16 pixels a cell of the last map. At 8 `vgg16` ends at conv4_3; `squeezenet1_1` has
            all of its layers, but its last pooling keeps the resolution and what follows is dilated, so that
            a classifier's weights mean the same.

    Raises:
        ValueError: for a name that is none of `BackboneName`, or another stride.
    """
    if name not in _BUILDERS:
        raise ValueError(f"backbone must be one of {', '.join(get_args(BackboneName))}, got {name!r}")
    if last_stride not in LAST_STRIDES:
        raise ValueError(f"last_stride must be 8 or 16, got {last_stride}")
    return _BUILDERS[name](last_stride)
