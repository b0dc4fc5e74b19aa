"""Maps of how unlike an image and its reconstruction are, and one score of each map."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cvcore.anomaly.options import MapKind, Reduction

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
SSIM_K1, SSIM_K2 = 0.01, 0.03
TRUNCATE = 4.0
"""A Gaussian's kernel ends after so many sigmas, as SciPy's does by default."""


def error_map(images: Tensor, reconstructions: Tensor, kind: MapKind) -> Tensor:
    """How unlike they are at each pixel, (B, H, W), 0 where they are equal.

    Args:
        images, reconstructions: (B, C, H, W), 0 to 1.
        kind: `mse` and `mae`, the mean over channels of the squared or absolute difference; `ssim`, one minus
            the structural similarity (see `ssim_map`), halved: from 0 to 1.
    """
    if kind == "mse":
        return (images - reconstructions).square().mean(dim=1)
    if kind == "mae":
        return (images - reconstructions).abs().mean(dim=1)
    return (1 - ssim_map(images, reconstructions)).clamp(min=0) / 2


def ssim_map(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity at each pixel, the mean over channels, (B, H, W), from -1 to 1.

    Wang et al. 2004 (Image Quality Assessment), equation 13, for a data range of 1: a Gaussian window of 11
    pixels and sigma 1.5. Edges are mirrored.
    """
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    window = _gaussian(SSIM_SIGMA, SSIM_WINDOW // 2, like=first)

    def mean(values: Tensor) -> Tensor:
        return _filter(values, window)

    mean_1, mean_2 = mean(first), mean(second)
    variance_1 = mean(first.square()) - mean_1.square()
    variance_2 = mean(second.square()) - mean_2.square()
    covariance = mean(first * second) - mean_1 * mean_2
    similarity = ((2 * mean_1 * mean_2 + c1) * (2 * covariance + c2)) / (
        (mean_1.square() + mean_2.square() + c1) * (variance_1 + variance_2 + c2)
    )
    return similarity.mean(dim=1)


def smooth(maps: Tensor, sigma: float) -> Tensor:
    """Maps, (B, H, W), under a Gaussian of `sigma` pixels, edges mirrored; 0 leaves them."""
    if sigma < 0:
        raise ValueError(f"sigma must not be negative, got {sigma}")
    if sigma == 0:
        return maps
    radius = int(TRUNCATE * sigma + 0.5)
    return _filter(maps[:, None], _gaussian(sigma, radius, like=maps))[:, 0]


def reduce_map(maps: Tensor, reduction: Reduction) -> Tensor:
    """One score a map, (B,): its greatest value, its mean, or the mean of its greatest hundredth."""
    flat = maps.flatten(1)
    if reduction == "max":
        return flat.amax(dim=1)
    if reduction == "mean":
        return flat.mean(dim=1)
    return flat.topk(max(1, flat.shape[1] // 100), dim=1).values.mean(dim=1)


def resize_map(one: Tensor, *, height: int, width: int) -> Tensor:
    """A map, (H, W), at an image's size, (height, width), bilinear."""
    resized: Tensor = functional.interpolate(
        one[None, None], size=(height, width), mode="bilinear", align_corners=False
    )
    return resized[0, 0]


def _gaussian(sigma: float, radius: int, *, like: Tensor) -> Tensor:
    places = torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)
    weights = torch.exp(-0.5 * (places / sigma).square())
    return weights / weights.sum()


def _filter(images: Tensor, weights: Tensor) -> Tensor:
    """(B, C, H, W) under a separable kernel."""
    channels, radius = images.shape[1], len(weights) // 2
    kernel = weights.expand(channels, 1, -1)
    padded = _mirror(images, radius)
    rows = functional.conv2d(padded, kernel[:, :, None, :], groups=channels)
    return functional.conv2d(rows, kernel[:, :, :, None], groups=channels)


def _mirror(images: Tensor, radius: int) -> Tensor:
    """Both sides of both axes continued by their mirror image, edge pixels twice, however small they are."""
    for dim in (2, 3):
        size = images.shape[dim]
        places = torch.arange(-radius, size + radius, device=images.device) % (2 * size)
        images = images.index_select(dim, torch.minimum(places, 2 * size - 1 - places))
    return images
