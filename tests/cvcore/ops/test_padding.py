from __future__ import annotations

import pytest
import torch

from cvcore.ops.padding import pad_boxes, pad_rows


@pytest.mark.parametrize(
    ("rows", "length", "expected"),
    [
        ([1, 0, 1], None, [[20, 0], [10, 30]]),
        ([1, 0, 1], 1, [[20], [10]]),
        ([0, 0, 0], 4, [[10, 20, 30, 0], [0, 0, 0, 0]]),
    ],
    ids=["interleaved", "longer rows are cut", "an empty row"],
)
def test_values_keep_their_order_within_rows(
    rows: list[int], length: int | None, expected: list[list[int]]
) -> None:
    padded, valid = pad_rows(torch.tensor([10, 20, 30]), torch.tensor(rows), 2, length=length)
    assert padded.tolist() == expected
    assert torch.equal(valid, padded > 0)


def test_nothing_at_all_has_one_empty_place() -> None:
    padded, valid = pad_rows(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 3)
    assert padded.shape == (3, 1, 4)
    assert not valid.any()


def test_boxes_come_back_from_their_padding() -> None:
    boxes = [torch.rand(3, 4), torch.zeros(0, 4), torch.rand(1, 4)]
    flat, image = pad_boxes(boxes).flat()
    assert torch.equal(flat, torch.cat(boxes))
    assert image.tolist() == [0, 0, 0, 2]
