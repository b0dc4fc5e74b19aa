"""SSD's default boxes (Liu et al. 2016, section 2.2, "Choosing scales and aspect ratios")."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cvcore.ops.anchors import cell_grid


@dataclass(frozen=True, slots=True)
class DefaultLevel:
    """The default boxes of one square map.

    Attributes:
        side: rows and columns.
        step_px: distance of neighbouring centres, canvas pixels; the first lie half of it inside the canvas.
        scale: side of the square box as a share of the canvas's.
        next_scale: `scale` of the map after; the second square box has the geometric mean of both.
        ratios: other aspect ratios, each upright and lying: 2 gives 2:1 and 1:2.
    """

    side: int
    step_px: float
    scale: float
    next_scale: float
    ratios: tuple[float, ...]

    @property
    def per_cell(self) -> int:
        """Boxes at each place."""
        return 2 + 2 * len(self.ratios)

    @property
    def num_boxes(self) -> int:
        return self.side * self.side * self.per_cell

    def shapes(self) -> list[tuple[float, float]]:
        """Widths and heights as shares of the canvas's side: the two squares, then ratio by ratio."""
        mean = math.sqrt(self.scale * self.next_scale)
        shapes = [(self.scale, self.scale), (mean, mean)]
        for ratio in self.ratios:
            long, short = self.scale * math.sqrt(ratio), self.scale / math.sqrt(ratio)
            shapes += [(long, short), (short, long)]
        return shapes


def default_boxes(
    levels: Sequence[DefaultLevel], *, canvas_px: int, clip: bool, device: torch.device | None = None
) -> Tensor:
    """All default boxes, (N, 4) float32 xyxy, pixels of a square canvas.

    Level by level, rows slowest and shapes fastest, which is the order of the heads' outputs. With `clip`
    they end at the canvas's border.
    """
    every = []
    for level in levels:
        like = torch.empty(0, dtype=torch.float32, device=device)
        centres = (cell_grid(level.side, level.side, like=like) + 0.5)[:, :, None] * level.step_px
        halves = like.new_tensor(level.shapes()) * (canvas_px / 2)
        every.append(torch.cat([centres - halves, centres + halves], dim=-1).view(-1, 4))  # (H, W, A, 4)
    boxes = torch.cat(every)
    return boxes.clamp(0, canvas_px) if clip else boxes
