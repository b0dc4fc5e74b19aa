from __future__ import annotations

import torch
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList

from cvcore.ops.default_boxes import DefaultLevel, default_boxes

LEVELS = (
    DefaultLevel(5, 8, 0.1, 0.3, (2.0,)),
    DefaultLevel(3, 16, 0.3, 0.7, (2.0, 3.0)),
    DefaultLevel(1, 40, 0.7, 1.05, (2.0,)),
)


def test_same_as_torchvisions() -> None:
    generator = DefaultBoxGenerator(
        [[2], [2, 3], [2]], scales=[0.1, 0.3, 0.7, 1.05], steps=[8, 16, 40], clip=False
    )
    maps = [torch.zeros(1, 1, level.side, level.side) for level in LEVELS]
    expected = generator(ImageList(torch.zeros(1, 3, 40, 40), [(40, 40)]), maps)[0]
    found = default_boxes(LEVELS, canvas_px=40, clip=False)
    assert len(found) == sum(level.num_boxes for level in LEVELS) == 25 * 4 + 9 * 6 + 4
    assert torch.allclose(found, expected, atol=1e-4)


def test_clipped_boxes_end_at_the_border() -> None:
    plain, clipped = (default_boxes(LEVELS, canvas_px=40, clip=clip) for clip in (False, True))
    assert float(plain.min()) < 0
    assert float(plain.max()) > 40
    assert torch.equal(clipped, plain.clamp(0, 40))


def test_shapes_of_a_cell() -> None:
    level = DefaultLevel(1, 100, 0.2, 0.8, (4.0,))
    found = default_boxes([level], canvas_px=100, clip=False)
    sizes = found[:, 2:] - found[:, :2]
    assert torch.allclose(sizes, torch.tensor([[20.0, 20.0], [40.0, 40.0], [40.0, 10.0], [10.0, 40.0]]))
    assert torch.allclose((found[:, 2:] + found[:, :2]) / 2, torch.full((4, 2), 50.0))
