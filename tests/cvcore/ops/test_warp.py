from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cvcore.ops.warp import warp_regions, with_context


def test_sixteen_pixels_of_context_lie_around_the_box() -> None:
    """Appendix A: at 227, the box itself becomes the inner 195 x 195."""
    box = torch.tensor([[10.0, 20.0, 10 + 195.0, 20 + 2 * 195.0]])
    assert with_context(box, crop_size=227, context=16).tolist() == [[-6.0, -12.0, 221.0, 442.0]]


def by_loops(image: Tensor, box: Tensor, size: int) -> Tensor:
    """Bilinear samples at pixel centres; zero outside the image, whose border is repeated half a pixel."""
    height, width = image.shape[1:]
    crop = torch.zeros(image.shape[0], size, size)
    x1, y1, x2, y2 = box.tolist()
    for row in range(size):
        for column in range(size):
            x = x1 + (column + 0.5) * (x2 - x1) / size - 0.5
            y = y1 + (row + 0.5) * (y2 - y1) / size - 0.5
            if not (-1 <= x <= width and -1 <= y <= height):
                continue
            x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
            left, top = min(int(x), width - 2), min(int(y), height - 2)
            dx, dy = x - left, y - top
            patch = image[:, top : top + 2, left : left + 2]
            crop[:, row, column] = (
                patch[:, 0, 0] * (1 - dx) * (1 - dy)
                + patch[:, 0, 1] * dx * (1 - dy)
                + patch[:, 1, 0] * (1 - dx) * dy
                + patch[:, 1, 1] * dx * dy
            )
    return crop


@pytest.mark.parametrize(
    "box",
    [[3.0, 2.0, 11.0, 9.5], [-4.0, -3.0, 9.0, 8.0], [10.0, 6.0, 26.0, 22.0]],
    ids=["inside", "beyond the top left", "beyond the bottom right"],
)
def test_enlarging_is_bilinear(box: list[float]) -> None:
    images = torch.rand(2, 3, 14, 18, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([box])
    crop = warp_regions(images, boxes, torch.tensor([1]), crop_size=16)[0]
    torch.testing.assert_close(crop, by_loops(images[1], boxes[0], 16), atol=1e-5, rtol=0)


def test_shrinking_does_not_alias() -> None:
    """A chequerboard becomes gray, and a smooth picture what Pillow's area mean makes of it."""
    board = ((torch.arange(64)[:, None] + torch.arange(64)[None]) % 2)[None, None].float()
    whole, first = torch.tensor([[0.0, 0, 64, 64]]), torch.tensor([0])
    torch.testing.assert_close(warp_regions(board, whole, first, crop_size=8), torch.full((1, 1, 8, 8), 0.5))
    steps = torch.arange(60)
    wave = (128 + 100 * torch.sin(steps / 9)[:, None] * torch.cos(steps / 7)[None]).byte()
    picture = Image.fromarray(wave.numpy()).crop((6, 12, 54, 36)).resize((12, 12), Image.Resampling.BOX)
    found = warp_regions(wave[None, None].float(), torch.tensor([[6.0, 12, 54, 36]]), first, crop_size=12)
    assert np.abs(found[0, 0].numpy() - np.asarray(picture, np.float32)).max() < 1.5
