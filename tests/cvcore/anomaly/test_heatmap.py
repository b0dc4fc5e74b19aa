"""Heat maps as files: the order of values survives, whatever their range."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cvcore.anomaly.heatmap import LEVELS, decode_heatmap, encode_heatmap


def test_a_half_is_the_center_and_order_is_kept_far_from_it() -> None:
    values = np.array([[-40.0, -1.0, 0.0], [0.02, 5.0, 9e5]], np.float32)
    found = decode_heatmap(encode_heatmap(values, center=0.02, scale=0.5))
    assert found.shape == values.shape
    assert found[1, 0] == pytest.approx(0.5, abs=1 / LEVELS)
    assert (np.diff(found.ravel()) > 0).all()
    assert 0 <= found.min() < found.max() <= 1


def test_values_come_back_to_a_step() -> None:
    values = np.random.default_rng(1).normal(3, 2, (20, 30)).astype(np.float32)
    found = decode_heatmap(encode_heatmap(values, center=3, scale=2)).astype(float)
    assert np.abs(np.tan((found - 0.5) * np.pi) * 2 + 3 - values).max() < 0.01


def test_any_viewer_sees_a_gray_picture() -> None:
    body = encode_heatmap(np.zeros((4, 6), np.float32), center=0, scale=1)
    image = Image.open(io.BytesIO(body))
    assert (image.format, image.size) == ("PNG", (6, 4))


def test_a_scale_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="scale"):
        encode_heatmap(np.zeros((2, 2), np.float32), center=0, scale=0)
