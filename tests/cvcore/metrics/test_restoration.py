"""PSNR and SSIM as scikit-image has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from cvcore.metrics.restoration import mean_ssim, psnr


def test_psnr_equals_scikit_images() -> None:
    rng = np.random.default_rng(1)
    first = rng.random((4, 3, 20, 24))
    second = np.clip(first + rng.normal(0, 0.1, first.shape), 0, 1)
    expected = [peak_signal_noise_ratio(a, b, data_range=1) for a, b in zip(first, second, strict=True)]
    assert psnr(torch.from_numpy(second), torch.from_numpy(first)).tolist() == pytest.approx(expected)


def test_equal_images_are_perfect() -> None:
    images = torch.rand(2, 1, 16, 16)
    assert psnr(images, images).tolist() == [float("inf")] * 2
    assert mean_ssim(images, images).tolist() == pytest.approx([1, 1])
