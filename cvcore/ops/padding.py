"""Ragged rows as padded tensors, so that the images of a batch are computed together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class PaddedBoxes:
    """Boxes of each image of a batch.

    Attributes:
        boxes: (B, P, 4) float32 xyxy; zeros where there is none.
        valid: (B, P) bool; the boxes of an image come first.
    """

    boxes: Tensor
    valid: Tensor

    def flat(self) -> tuple[Tensor, Tensor]:
        """The boxes, (N, 4), image by image, and the image of each, (N,) int64."""
        return self.boxes[self.valid], torch.nonzero(self.valid)[:, 0]

    def joined(self, other: PaddedBoxes) -> PaddedBoxes:
        """Both images' boxes; empty places may lie between."""
        return PaddedBoxes(
            torch.cat([self.boxes, other.boxes], dim=1), torch.cat([self.valid, other.valid], dim=1)
        )


def pad_rows(
    values: Tensor, rows: Tensor, num_rows: int, *, length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Lay out values row by row, in the order in which they come.

    Args:
        values: (M, ...).
        rows: (M,) int64, 0 to `num_rows` - 1, in any order.
        num_rows: R.
        length: places a row has; values beyond are dropped. As many as the fullest needs by default, at
            least one.

    Returns:
        (R, length, ...) with zeros in empty places, and (R, length) bool, which are filled.
    """
    order = rows.argsort(stable=True)
    rows = rows[order]
    counts = torch.bincount(rows, minlength=num_rows)
    place = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
    length = max([1, *counts.tolist()]) if length is None else length
    fits = place < length
    padded = values.new_zeros((num_rows, length, *values.shape[1:]))
    padded[rows[fits], place[fits]] = values[order[fits]]
    return padded, torch.arange(length, device=rows.device)[None] < counts[:, None]


def pad_boxes(boxes: list[Tensor]) -> PaddedBoxes:
    """One (P, 4) tensor of boxes for each image, padded to the longest."""
    counts = torch.tensor([len(own) for own in boxes], device=boxes[0].device)
    rows = torch.repeat_interleave(torch.arange(len(boxes), device=counts.device), counts)
    return PaddedBoxes(*pad_rows(torch.cat(boxes).float(), rows, len(boxes)))
