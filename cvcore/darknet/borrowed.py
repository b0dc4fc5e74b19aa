"""Darknet networks that begin as torchvision's classifiers do, and take their weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cvcore.backbones.build import BackboneName, build_backbone
from cvcore.darknet.convolution import ConvolutionBlock
from cvcore.darknet.network import DarknetNetwork
from cvcore.errors import ModelError
from cvcore.image.normalize import IMAGENET_MEAN, IMAGENET_STD


@torch.no_grad()
def borrow_convolutions(
    network: DarknetNetwork, backbone: BackboneName, state: Mapping[str, Tensor], *, name: str
) -> None:
    """Copy a classifier's convolutions into the first ones of `network`, in order.

    The classifier reads normalised images and Darknet's networks values from 0 to 1: the first convolution
    takes over the normalisation, exact where no padding is seen.

    Args:
        network: on any device; on `meta` nothing is copied.
        backbone: torchvision's name of the classifier.
        state: its state dict.
        name: what messages call it.

    Raises:
        WeightsError: where `state` is not of `backbone`.
        ModelError: where the network's convolutions have other widths. Nothing is changed then.
    """
    trunk = build_backbone(backbone)
    trunk.load(state, name=name)
    theirs = [layer for layer in trunk.modules() if isinstance(layer, nn.Conv2d)]
    ours = [block.conv for block in network.blocks if isinstance(block, ConvolutionBlock)]
    pairs = list(zip(ours, theirs, strict=False))
    wrong = [own.weight.shape for own, other in pairs if own.weight.shape != other.weight.shape]
    if wrong or len(ours) < len(theirs):
        raise ModelError(
            f"{name} does not fit: {len(wrong)} of the {len(theirs)} convolutions of a {backbone} have other "
            "widths here. Leave width at 1"
        )
    _take_over_normalisation(theirs[0])
    for own, other in pairs:
        assert own.bias is not None
        assert other.bias is not None
        own.weight.copy_(other.weight)
        own.bias.copy_(other.bias)


def _take_over_normalisation(first: nn.Conv2d) -> None:
    assert first.bias is not None
    mean, std = (first.weight.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    first.weight.div_(std)
    first.bias.sub_((first.weight * mean).sum(dim=(1, 2, 3)))
