"""Mirroring an image at its borders, by any number of pixels."""

from __future__ import annotations

import torch
from torch import Tensor


def mirrored(images: Tensor, *, top: int, bottom: int, left: int, right: int) -> Tensor:
    """(..., H, W) continued beyond its borders by mirror images, the border pixels not repeated.

    Where more is asked for than the image has, it is mirrored again and again; torch's padding refuses that.
    """
    rows = _indices(images.shape[-2], top, bottom, images.device)
    columns = _indices(images.shape[-1], left, right, images.device)
    if top or bottom:
        images = images.index_select(-2, rows)
    if left or right:
        images = images.index_select(-1, columns)
    return images


def _indices(size: int, before: int, after: int, device: torch.device) -> Tensor:
    places = torch.arange(-before, size + after, device=device)
    if size == 1:
        return torch.zeros_like(places)
    period = 2 * (size - 1)
    places = places.remainder(period)
    return torch.where(places < size, places, period - places)
