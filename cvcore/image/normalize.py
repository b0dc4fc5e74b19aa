"""From canvases to what networks read, on the canvases' device."""

from __future__ import annotations

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of RGB values from 0 to 1, as torchvision's classifiers are trained."""


def unit_floats(canvases: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, H, W, 3) uint8 RGB canvases to contiguous (B, 3, H, W) floats, 0 to 1."""
    return canvases.permute(0, 3, 1, 2).contiguous().to(dtype).div_(255.0)


def imagenet_floats(canvases: Tensor, dtype: torch.dtype) -> Tensor:
    """`unit_floats`, less ImageNet's mean and over its standard deviation, channel by channel."""
    images = unit_floats(canvases, dtype)
    mean, std = (images.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return images.sub_(mean).div_(std)
