"""From logits on a canvas to class ids of an image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from cvcore.image.fit import Fit


def content_of(planes: Tensor, fit: Fit) -> Tensor:
    """The part of (..., H, W) canvas planes that the image was drawn on."""
    rows = slice(fit.top, fit.top + fit.content_height)
    return planes[..., rows, fit.left : fit.left + fit.content_width]


def class_map(logits: Tensor, *, height: int, width: int) -> Tensor:
    """The class of the greatest logit at every pixel, logits scaled bilinearly: (height, width) uint8.

    Classes are scaled one at a time, so that a large image takes two floats a pixel, whatever their number;
    of equal logits the first class counts.

    Args:
        logits: (C, h, w).
        height, width: of the map.
    """
    if logits.shape[1:] == (height, width):
        return logits.argmax(dim=0).to(torch.uint8)
    best = resized(logits[:1], height=height, width=width)[0]
    found = torch.zeros((height, width), dtype=torch.uint8, device=logits.device)
    for index in range(1, len(logits)):
        plane = resized(logits[index : index + 1], height=height, width=width)[0]
        better = plane > best
        found[better] = index
        best = torch.where(better, plane, best)
    return found


def resized(planes: Tensor, *, height: int, width: int) -> Tensor:
    """(C, h, w) planes scaled bilinearly; pixels are areas, so corners of planes meet."""
    return F.interpolate(planes[None], size=(height, width), mode="bilinear", align_corners=False)[0]
