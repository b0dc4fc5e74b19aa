from __future__ import annotations

import numpy as np
import pytest

from cvcore.train.pictures import Picture, PictureSet, whole_canvas
from tests.datasets import picture

FILES = {"a.png": picture(60, 40), "b.png": picture(20, 300), "bad.png": picture(30, 30)[:40]}
PICTURES = [
    Picture("a.png", 40, 60, 0, (6.0, 4.0, 30.0, 20.0)),
    Picture("bad.png", 30, 30, 0),
    Picture("b.png", 300, 20, 1),
]


@pytest.mark.parametrize("cached", [0, 2**20], ids=["read again", "kept"])
def test_pixels_are_the_same_kept_or_read_again(cached: int) -> None:
    reads: list[str] = []

    def read(name: str) -> bytes:
        reads.append(name)
        return FILES[name]

    found = PictureSet(PICTURES, read, whole_canvas(20), max_cached_bytes=cached)
    assert [each.name for each in found.pictures] == ["a.png", "b.png"]
    assert found.failures.total() == 1
    reads.clear()
    second, first = found.decode([1, 0])
    assert first.canvas.shape == (20, 30, 3)
    assert second.canvas.shape == (60, 20, 3)  # a long strip is squeezed
    assert sorted(reads) == ([] if cached else ["a.png", "b.png"])
    box = found.box_on(0, first)
    assert box is not None
    assert np.allclose(box.numpy(), [[3, 2, 15, 10]])
    assert found.box_on(1, second) is None
