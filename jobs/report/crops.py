"""Parts of images with boxes drawn on them, as small cards of a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cvcore.draw import Color, DrawnBox, draw_scene

Decode = Callable[[int, int], Image.Image]
Box = tuple[float, float, float, float]

SIDE_PX, LINE_PX = 280, 2
"""Of a drawn crop the longer side, and the width of lines in it."""
CONTEXT = 0.6
"""Of the boxes' longer side, shown around them."""
LEAST_PX = 48
PICTURE_BYTES = 24_000
FOUND: Color = (213, 94, 0)
TRUE: Color = (86, 180, 233)


@dataclass(frozen=True, slots=True)
class ErrorCard:
    """One error; `picture` is a data URI, or None where `missing` says why there is none."""

    name: str
    title: str
    note: str
    picture: str | None
    missing: str


def draw_crop(decode: Decode, boxes: Sequence[DrawnBox], *, width: int, height: int) -> Image.Image:
    """The part of an image around boxes (xyxy, pixels of the `width` x `height` image), with them drawn.

    The crop's longer side is `SIDE_PX`, but nothing is enlarged more than four times.

    Args:
        decode: gives the whole image at about a width and height; what it raises is raised.
        boxes: at least one.
        width, height: of the image.
    """
    left, top, right, bottom = _window([each.box for each in boxes], width, height)
    scale = min(4.0, SIDE_PX / max(right - left, bottom - top))
    # Decoded no larger than it is shown: a small crop of a large picture needs all of its pixels.
    shrink = min(1.0, scale)
    decoded = decode(max(1, round(width * shrink)), max(1, round(height * shrink)))
    across, down = decoded.width / width, decoded.height / height
    area = (left * across, top * down, right * across, bottom * down)
    out = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    crop = decoded.resize(out, Image.Resampling.BICUBIC, box=_inside(area, decoded.size))
    moved = [
        DrawnBox(_moved(each.box, left, top, scale), each.text, each.color, each.faint) for each in boxes
    ]
    return Image.fromarray(draw_scene(np.asarray(crop), moved, line_px=LINE_PX))


def _window(boxes: Sequence[Box], width: int, height: int) -> Box:
    """Boxes with context, inside the image."""
    corners = np.array(boxes)
    low, high = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    margin = max(CONTEXT * float((high - low).max()), (LEAST_PX - float((high - low).max())) / 2)
    left, top = np.maximum(low - margin, 0.0).tolist()
    right, bottom = np.minimum(high + margin, [width, height]).tolist()
    return left, top, max(right, left + 1.0), max(bottom, top + 1.0)


def _inside(area: Box, size: tuple[int, int]) -> Box:
    x1, y1 = min(area[0], size[0] - 1e-3), min(area[1], size[1] - 1e-3)
    return x1, y1, min(area[2], float(size[0])), min(area[3], float(size[1]))


def _moved(box: Box, left: float, top: float, scale: float) -> Box:
    x1, y1, x2, y2 = box
    return (x1 - left) * scale, (y1 - top) * scale, (x2 - left) * scale, (y2 - top) * scale
