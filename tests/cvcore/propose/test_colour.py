"""Colour spaces beside scikit-image's."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import rgb2hsv, rgb2lab

from cvcore.propose.colour import to_space

IMAGE = np.random.default_rng(2).integers(0, 256, (20, 30, 3)).astype(np.uint8)


def test_lab_is_scikit_images_shifted_and_scaled() -> None:
    expected = np.clip(rgb2lab(IMAGE) * [2.55, 1, 1] + [0, 128, 128], 0, 255)
    np.testing.assert_allclose(to_space(IMAGE, "lab"), expected, atol=0.1)


def test_hsv_is_scikit_images_in_8_bits() -> None:
    difference = np.abs(to_space(IMAGE, "hsv") - rgb2hsv(IMAGE) * 255)
    assert difference.max() <= 2
    np.testing.assert_array_equal(to_space(IMAGE, "hue"), to_space(IMAGE, "hsv")[..., :1])


def test_rgi_of_a_known_colour() -> None:
    pixel = np.array([[[100, 50, 50]]], np.uint8)
    assert to_space(pixel, "rgi")[0, 0].tolist() == pytest.approx([127.5, 63.75, 200 / 3])
    assert to_space(pixel, "intensity")[0, 0].tolist() == pytest.approx([200 / 3])


@pytest.mark.parametrize("space", ["hsv", "lab", "rgi", "hue", "intensity"])
@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_stay_in_range(space: str, level: int) -> None:
    planes = to_space(np.full((2, 2, 3), level, np.uint8), space)
    assert planes.dtype == np.float32
    assert np.isfinite(planes).all()
    assert planes.min() >= 0
    assert planes.max() <= 255
