"""Regions that a network of crops looks at and learns from (Noh et al. 2015, section 4)."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from cvcore.ops.boxes import paired_iou
from cvcore.segment.losses import IGNORED

CONTEXT = 1.2
"""By how much regions are grown before they are cropped (section 4.2.2)."""
LEAST_IOU = 0.5
"""Of a region with its object's box, as the paper picks proposals."""
FARTHEST = 0.3
"""By how much a region's sides lie off its object's, as a share of the box."""
TRIES = 16


def grown(boxes: Tensor) -> Tensor:
    """(P, 4) xyxy boxes with their surroundings, `CONTEXT` times as wide and high, in whole pixels."""
    centres, halves = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * CONTEXT
    return torch.cat([(centres - halves).floor(), (centres + halves).ceil()], dim=1)


def sample_regions(mask: Tensor, count: int) -> Tensor:
    """Regions of one image, (count, 4) float32 xyxy, pixels: the whole, and around objects taken at random.

    The latter are grown, and overlap their object as a proposal does. An object is a connected part of one
    class other than the first. Where there is none, regions are the whole again.

    Args:
        mask: (H, W) uint8 class ids; 0 is the background, 255 is not judged.
        count: at least 1.
    """
    height, width = mask.shape
    whole = torch.tensor([[0.0, 0.0, width, height]])
    objects = object_boxes(mask)
    if not len(objects) or count == 1:
        return whole.expand(count, 4).clone()
    chosen = objects[torch.randint(len(objects), (count - 1,))]
    return torch.cat([whole, grown(torch.stack([_beside(box) for box in chosen]))])


def object_boxes(mask: Tensor) -> Tensor:
    """Boxes of the connected parts of each class, (N, 4) float32 xyxy, pixels; diagonal pixels touch."""
    ids = mask.cpu().numpy()
    found = []
    for value in np.unique(ids):
        if value in (0, IGNORED):
            continue
        parts, _ = ndimage.label(ids == value, structure=np.ones((3, 3)))
        found += [(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(parts)]
    return torch.tensor(found, dtype=torch.float32).view(-1, 4)


def crop_mask(mask: Tensor, boxes: Tensor, *, side: int) -> Tensor:
    """Class ids of regions, (P, side, side) uint8: the pixel nearest to each place, 255 beyond the image.

    Args:
        mask: (H, W) uint8.
        boxes: (P, 4) xyxy, pixels; they may leave the image.
        side: pixels.
    """
    height, width = mask.shape
    places = (torch.arange(side, device=mask.device) + 0.5) / side
    xs, ys = (
        (boxes[:, k, None] + (boxes[:, k + 2, None] - boxes[:, k, None]) * places).floor().long()
        for k in (0, 1)
    )
    inside = ((ys >= 0) & (ys < height))[:, :, None] & ((xs >= 0) & (xs < width))[:, None, :]
    found = mask[ys.clamp(0, height - 1)[:, :, None], xs.clamp(0, width - 1)[:, None, :]]
    return found.masked_fill(~inside, IGNORED)


def _beside(box: Tensor) -> Tensor:
    """A box at random that overlaps `box` by `LEAST_IOU`."""
    size = (box[2:] - box[:2]).repeat(2)
    for _ in range(TRIES):
        moved = box + (2 * torch.rand(4) - 1) * FARTHEST * size
        if paired_iou(moved, box) >= LEAST_IOU:
            return moved
    return box
