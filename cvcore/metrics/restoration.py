"""How near an image comes to another: peak signal-to-noise ratio and structural similarity."""

from __future__ import annotations

import torch
from torch import Tensor

from cvcore.anomaly.maps import ssim_map


def psnr(images: Tensor, targets: Tensor) -> Tensor:
    """Peak signal-to-noise ratios, (B,), decibels, of (B, C, H, W) images from 0 to 1."""
    error = (images - targets).square().flatten(1).mean(dim=1)
    return -10 * torch.log10(error)


def mean_ssim(images: Tensor, targets: Tensor) -> Tensor:
    """Mean structural similarities, (B,); see `cvcore.anomaly.maps.ssim_map`."""
    return ssim_map(images, targets).flatten(1).mean(dim=1)
