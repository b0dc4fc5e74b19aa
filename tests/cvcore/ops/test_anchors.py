from __future__ import annotations

import pytest
import torch
from torchvision.ops import box_iou

from cvcore.ops.anchors import cell_grid, decode_boxes, decode_head, encode_boxes, fit_anchors, shape_iou


def test_shape_iou_is_the_iou_of_centred_boxes() -> None:
    sizes, anchors = torch.rand(7, 2) * 50 + 1, torch.rand(4, 2) * 50 + 1
    expected = box_iou(torch.cat([-sizes / 2, sizes / 2], 1), torch.cat([-anchors / 2, anchors / 2], 1))
    assert torch.allclose(shape_iou(sizes, anchors), expected, atol=1e-6)


def test_fit_anchors_finds_well_separated_shapes() -> None:
    generator = torch.Generator().manual_seed(3)
    true = torch.tensor([[10.0, 10.0], [40.0, 20.0], [90.0, 110.0]])
    sizes = true.repeat(60, 1) * (1 + 0.04 * torch.randn(180, 2, generator=generator))
    found = max(
        (fit_anchors(sizes, 3, seed=seed) for seed in range(5)),
        key=lambda anchors: float(shape_iou(sizes, anchors).amax(dim=1).mean()),
    )
    assert torch.allclose(found, true, rtol=0.05)


def test_fit_anchors_refuses_too_few_boxes() -> None:
    with pytest.raises(ValueError, match="at least as many boxes, got 2"):
        fit_anchors(torch.ones(2, 2), 3)


@pytest.mark.parametrize("scale_xy", [1.0, 1.05, 2.0])
def test_decode_inverts_encode(scale_xy: float) -> None:
    generator = torch.Generator().manual_seed(0)
    cells = torch.randint(0, 40, (50, 2), generator=generator)
    centers = (cells + torch.rand(50, 2, generator=generator) * 0.98 + 0.01) * 8
    sizes = torch.rand(50, 2, generator=generator) * 60 + 4
    boxes = torch.cat([centers - sizes / 2, centers + sizes / 2], dim=1)
    anchors = torch.tensor([[16.0, 24.0]])
    raw = encode_boxes(boxes, cells, anchors, stride=8, scale_xy=scale_xy)
    assert torch.allclose(decode_boxes(raw, cells, anchors, stride=8, scale_xy=scale_xy), boxes, atol=1e-2)


def test_zero_offsets_are_the_anchor_in_the_cell_centre() -> None:
    raw = torch.zeros(1, 2 * 7, 3, 5)
    boxes, scores = decode_head(raw, torch.tensor([[10.0, 6.0], [4.0, 4.0]]), stride=16)
    assert boxes.shape == (1, 2 * 3 * 5, 4)
    assert torch.all(scores == 0.25)
    # Rows, then columns, then anchors: row 1, column 2, anchor 0.
    assert boxes[0, (1 * 5 + 2) * 2].tolist() == [40 - 5, 24 - 3, 40 + 5, 24 + 3]
    assert boxes[0, 14 * 2 + 1].tolist() == [72 - 2, 40 - 2, 72 + 2, 40 + 2]


def test_cell_grid_is_column_then_row() -> None:
    grid = cell_grid(2, 3, like=torch.zeros(1))
    assert grid[1, 2].tolist() == [2, 1]


def test_huge_widths_stay_finite() -> None:
    raw = torch.full((1, 6, 1, 1), 1e4)
    boxes, _ = decode_head(raw, torch.tensor([[10.0, 10.0]]), stride=8)
    assert torch.isfinite(boxes).all()
