from __future__ import annotations

import numpy as np
import pytest
import torch

from cvcore.train.crops import MIN_VISIBLE, CropOptions, random_view

OPTIONS = CropOptions(48, 32, min_area=0.1)


def framed(height: int = 60, width: int = 90) -> tuple[np.ndarray, torch.Tensor]:
    """A black picture with one white rectangle, and its box."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[20:50, 30:70] = 255
    return picture, torch.tensor([[30.0, 20.0, 70.0, 50.0]])


def test_a_view_is_decided_by_its_generator_alone() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    views = [random_view(picture, None, OPTIONS, np.random.default_rng([5, k]))[0] for k in (0, 0, 1)]
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])
    assert views[0].shape == (48, 32, 3)
    assert views[0].dtype == torch.uint8


def test_a_box_goes_where_its_pixels_go() -> None:
    picture, box = framed()
    plain = CropOptions(120, 120, min_area=0.3, color=0)
    for seed in range(20):
        view, shares = random_view(picture, box, plain, np.random.default_rng(seed))
        assert shares is not None
        white = torch.nonzero(view[..., 0] > 127)
        top, left = white.amin(dim=0).tolist()
        bottom, right = (white.amax(dim=0) + 1).tolist()
        assert (shares[0] * 120).tolist() == pytest.approx([left, top, right, bottom], abs=2)


def test_a_view_shows_most_of_its_box() -> None:
    picture, box = framed()
    for seed in range(30):
        view, _ = random_view(
            picture, box, CropOptions(60, 90, min_area=0.05, color=0), np.random.default_rng(seed)
        )
        assert (view[..., 0] > 127).any()
    assert MIN_VISIBLE > 0.5


def test_all_of_a_picture_is_the_picture() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    still = CropOptions(40, 40, min_area=1.0, mirror=False, color=0)
    view, _ = random_view(picture, None, still, np.random.default_rng(0))
    assert np.array_equal(view.numpy(), picture)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)], ids=["a pixel", "a row", "a column"])
def test_pictures_of_any_shape_have_views(size: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 9, np.uint8)
    assert random_view(picture, None, OPTIONS, np.random.default_rng(0))[0].shape == (48, 32, 3)


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="min_area must be above 0"):
        CropOptions(8, 8, min_area=0)
