"""Error maps against scikit-image and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.metrics import structural_similarity

from cvcore.anomaly.maps import error_map, reduce_map, resize_map, smooth, ssim_map


def pair(channels: int = 3, *, height: int = 40, width: int = 33) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(channels)
    first = torch.rand(2, channels, height, width, generator=generator, dtype=torch.float64)
    second = (first + 0.2 * torch.randn(first.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)
    return first, second


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_that_of_scikit_image(channels: int) -> None:
    first, second = pair(channels)
    found = ssim_map(first, second)
    for index in range(2):
        _, theirs = structural_similarity(
            first[index].numpy(),
            second[index].numpy(),
            channel_axis=0,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        np.testing.assert_allclose(found[index].numpy(), theirs.mean(axis=0), atol=1e-9)


def test_an_image_is_like_itself() -> None:
    image, other = pair()
    for kind in ("mse", "mae", "ssim"):
        assert error_map(image, image, kind).abs().max() < 1e-9  # type: ignore[arg-type]
        assert error_map(image, other, kind).min() >= 0  # type: ignore[arg-type]
        assert error_map(image, other, kind).shape == (2, 40, 33)  # type: ignore[arg-type]


def test_differences_are_means_over_channels() -> None:
    first, second = pair()
    gap = (first - second).numpy()
    np.testing.assert_allclose(error_map(first, second, "mse").numpy(), (gap**2).mean(axis=1))
    np.testing.assert_allclose(error_map(first, second, "mae").numpy(), np.abs(gap).mean(axis=1))


@pytest.mark.parametrize("sigma", [0.0, 0.8, 2.0, 9.0])
def test_smoothing_is_that_of_scipy(sigma: float) -> None:
    maps = pair()[0][:, 0]
    theirs = np.stack([ndimage.gaussian_filter(one, sigma) for one in maps.numpy()])
    np.testing.assert_allclose(smooth(maps, sigma).numpy(), theirs, atol=1e-6)


def test_reductions() -> None:
    maps = torch.arange(400.0).view(1, 20, 20)
    assert reduce_map(maps, "max").item() == 399
    assert reduce_map(maps, "mean").item() == 199.5
    assert reduce_map(maps, "top1").item() == 397.5


def test_a_map_takes_the_size_of_its_image() -> None:
    found = resize_map(torch.tensor([[0.0, 1.0]]), height=3, width=8)
    assert found.shape == (3, 8)
    assert found[0, 0] == 0
    assert found[0, -1] == 1
    assert (found.diff(dim=1) >= 0).all()
