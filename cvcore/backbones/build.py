"""The trunks by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, get_args

from cvcore.backbones.squeezenet import build_squeezenet1_1
from cvcore.backbones.trunk import Trunk
from cvcore.backbones.vgg import build_vgg16

BackboneName = Literal["vgg16", "squeezenet1_1"]

_BUILDERS: Mapping[BackboneName, Callable[[], Trunk]] = MappingProxyType(
    {"vgg16": build_vgg16, "squeezenet1_1": build_squeezenet1_1}
)


def build_backbone(name: BackboneName) -> Trunk:
    """Build a trunk with random weights; it reads images normalised by `normalize.imagenet_floats`.

    Raises:
        ValueError: for a name that is none of `BackboneName`.
    """
    if name not in _BUILDERS:
        raise ValueError(f"backbone must be one of {', '.join(get_args(BackboneName))}, got {name!r}")
    return _BUILDERS[name]()
