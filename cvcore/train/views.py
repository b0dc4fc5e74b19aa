"""What the network is shown of a sample."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

SMALLEST_SIDE_PX = 2


@dataclass(frozen=True, slots=True)
class View:
    """What the network is shown.

    Attributes:
        canvas: (H, W, 3) uint8.
        boxes, label_ids: (N, 4) xyxy canvas pixels, (N,) int64.
        proposals: (P, 4) like the boxes, where the model is given regions.
        masks: (N, H, W) uint8, 1 inside of each object, where the model learns from them.
    """

    canvas: npt.NDArray[np.uint8]
    boxes: Tensor
    label_ids: Tensor
    proposals: Tensor | None = None
    masks: Tensor | None = None

    def with_objects(self, kept: Tensor) -> View:
        """The same with some of its objects alone, (N,) bool."""
        masks = None if self.masks is None else self.masks[kept]
        return replace(self, boxes=self.boxes[kept], label_ids=self.label_ids[kept], masks=masks)


def moved_boxes(
    boxes: Tensor, scale: Tensor, shift: Tensor, frame: tuple[float, float, float, float], min_visible: float
) -> Tensor:
    """Boxes scaled, shifted and clipped to a frame; zeros for those of which too little is left in it.

    Args:
        boxes: (N, 4) float, xyxy.
        scale, shift: (2,), along x and y.
        frame: xyxy, where the boxes go.
        min_visible: the least share of its area that a box must keep, 0 to 1.
    """
    whole = boxes * scale.repeat(2) + shift.repeat(2)
    low, high = whole.new_tensor(frame[:2]).repeat(2), whole.new_tensor(frame[2:]).repeat(2)
    clipped = torch.minimum(torch.maximum(whole, low), high)
    area = (clipped[:, 2:] - clipped[:, :2]).prod(dim=1)
    seen = area >= min_visible * (whole[:, 2:] - whole[:, :2]).prod(dim=1)
    return torch.where(seen[:, None], clipped, 0.0)


def large_enough(boxes: Tensor) -> Tensor:
    """(N,) bool, which of (N, 4) boxes have sides that a network can see."""
    return (boxes[:, 2:] - boxes[:, :2] >= SMALLEST_SIDE_PX).all(dim=1)
