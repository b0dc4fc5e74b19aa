"""Four images in one canvas, so that one view holds objects of many scenes and sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from cvcore.train.transforms import NEAREST
from cvcore.train.views import View, large_enough, moved_boxes

NUM_TILES = 4
_MARGIN = 0.25


def mosaic(views: Sequence[View], rng: np.random.Generator, *, min_visible: float) -> View:
    """Join four views of one size.

    The canvas is cut in four at a random point of its middle. Each view fills its part with a random crop of
    itself, at a random scale between the least that fills it and its own; so nothing is shown enlarged.

    Args:
        views: top left, top right, bottom left, bottom right.
        rng: where the cuts, crops and scales are drawn from.
        min_visible: see `AugmentOptions`.

    Raises:
        ValueError: unless there are four views, all of one size.
    """
    shapes = {view.canvas.shape for view in views}
    if len(views) != NUM_TILES or len(shapes) != 1:
        raise ValueError(f"a mosaic joins {NUM_TILES} views of one size, got {len(views)}: {sorted(shapes)}")
    height, width = views[0].canvas.shape[:2]
    x, y = (round(float(side * rng.uniform(_MARGIN, 1 - _MARGIN))) for side in (width, height))
    frames = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
    canvas = np.empty_like(views[0].canvas)
    placed = [
        _place(view, frame, canvas, rng, min_visible) for view, frame in zip(views, frames, strict=True)
    ]
    return View(
        canvas,
        torch.cat([tile.boxes for tile in placed]),
        torch.cat([tile.label_ids for tile in placed]),
        _all([tile.proposals for tile in placed]),
        _all([tile.masks for tile in placed]),
    )


def _all(parts: Sequence[Tensor | None]) -> Tensor | None:
    """One after the other, where each view has some."""
    there = [part for part in parts if part is not None]
    return torch.cat(there) if len(there) == len(parts) else None


def _place(
    view: View, frame: tuple[int, int, int, int], canvas: Any, rng: np.random.Generator, min_visible: float
) -> View:
    """Draw a crop of `view` into a frame of `canvas`, and carry what it holds along."""
    height, width = view.canvas.shape[:2]
    left, top, right, bottom = frame
    wide, high = right - left, bottom - top
    scale = float(rng.uniform(max(wide / width, high / height), 1.0))
    crop_w, crop_h = min(width, round(wide / scale)), min(height, round(high / scale))
    crop_x, crop_y = int(rng.integers(width - crop_w + 1)), int(rng.integers(height - crop_h + 1))
    planes = torch.from_numpy(view.canvas).permute(2, 0, 1)
    tile = F.resized_crop(planes, crop_y, crop_x, crop_h, crop_w, [high, wide])
    canvas[top:bottom, left:right] = tile.permute(1, 2, 0).numpy()

    scales = torch.tensor([wide / crop_w, high / crop_h])
    shift = torch.tensor([left, top]) - torch.tensor([crop_x, crop_y]) * scales

    def moved(boxes: Tensor) -> Tensor:
        return moved_boxes(boxes, scales, shift, frame, min_visible)

    boxes = moved(view.boxes)
    proposals = None if view.proposals is None else moved(view.proposals)
    if proposals is not None:
        proposals = proposals[large_enough(proposals)]
    masks = None
    if view.masks is not None:
        masks = torch.zeros_like(view.masks)
        crop = view.masks[:, crop_y : crop_y + crop_h, crop_x : crop_x + crop_w]
        masks[:, top:bottom, left:right] = F.resize(crop, [high, wide], NEAREST)
    placed = View(view.canvas, boxes, view.label_ids, proposals, masks)
    return placed.with_objects(large_enough(boxes))
