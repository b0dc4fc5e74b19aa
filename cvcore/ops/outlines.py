"""Masks as polygons along the edges of their pixels, and back, without loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cvcore.ops.masks import decode_rle

Point = tuple[float, float]


def mask_rings(mask: npt.NDArray[np.bool_]) -> list[list[Point]]:
    """The closed outlines of a mask: of each of its pieces, and of each hole.

    Args:
        mask: (H, W).

    Returns:
        Rings of corners (x, y), pixels; the mask is what an odd number of them goes around.
    """
    padded = np.pad(mask, 1)
    steps: dict[Point, list[Point]] = {}
    # Each edge between a pixel inside and one outside is walked with the inside at its right.
    for dy, dx, inside in ((0, 1, False), (0, -1, True)):
        ys, xs = np.nonzero((padded[:-1, 1:-1] == inside) & (padded[1:, 1:-1] != inside))
        for y, x in zip(ys.tolist(), xs.tolist(), strict=True):
            ends = ((x, y), (x + dx, y + dy)) if dx > 0 else ((x + 1, y), (x, y))
            steps.setdefault(ends[0], []).append(ends[1])
    for dy, inside in ((-1, False), (1, True)):
        ys, xs = np.nonzero((padded[1:-1, :-1] == inside) & (padded[1:-1, 1:] != inside))
        for y, x in zip(ys.tolist(), xs.tolist(), strict=True):
            ends = ((x, y), (x, y + 1)) if dy > 0 else ((x, y + 1), (x, y))
            steps.setdefault(ends[0], []).append(ends[1])
    rings = []
    while steps:
        rings.append(_walk(steps))
    return rings


def _walk(steps: dict[Point, list[Point]]) -> list[Point]:
    """Take one closed ring out of the steps; corners that lie on a straight line are left out."""
    start = at = next(iter(steps))
    ring: list[Point] = []
    while True:
        after = steps[at].pop()
        if not steps[at]:
            del steps[at]
        while len(ring) > 1 and _straight(ring[-2], ring[-1], at):
            ring.pop()
        ring.append(at)
        at = after
        if at == start:
            break
    if len(ring) > 2 and _straight(ring[-2], ring[-1], ring[0]):
        ring.pop()
    if len(ring) > 2 and _straight(ring[-1], ring[0], ring[1]):
        ring.pop(0)
    return ring


def _straight(a: Point, b: Point, c: Point) -> bool:
    return a[0] == b[0] == c[0] or a[1] == b[1] == c[1]


def joined_outline(rle: dict[str, Any]) -> list[Point]:
    """One polygon of a whole mask: its rings, with bridges that are walked both ways.

    Filled by the even-odd rule, as `fill_polygon` does, it is the mask.

    Args:
        rle: COCO compressed RLE.

    Returns:
        Its corners; none of a mask without pixels.

    Raises:
        ValueError: for an RLE that is none.
    """
    height, width = rle["size"]
    first, *others = mask_rings(decode_rle(rle, height=height, width=width)) or [[]]
    if not others:
        return first
    points = [*first, first[0]]
    for ring in others:
        points += [*ring, ring[0], first[0]]
    return points[:-1]


def fill_polygon(points: Sequence[Point], *, height: int, width: int) -> npt.NDArray[np.bool_]:
    """The pixels, (height, width), whose centres a polygon goes around an odd number of times.

    Args:
        points: corners (x, y), pixels; at least three.
    """
    crossings = np.zeros((height, width + 1), np.int32)
    corners = np.asarray(points, np.float64)
    for one, other in zip(corners.tolist(), np.roll(corners, -1, axis=0).tolist(), strict=True):
        # From the top, so that an edge that is walked both ways crosses twice at the very same places.
        (y0, x0), (y1, x1) = sorted(point[::-1] for point in (one, other))
        rows = np.arange(max(0, int(np.ceil(y0 - 0.5))), min(height, int(np.ceil(y1 - 0.5))))
        if not len(rows):
            continue
        xs = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
        columns = np.clip(np.ceil(xs - 0.5), 0, width).astype(np.int64)
        np.add.at(crossings, (rows, columns), 1)
    filled: npt.NDArray[np.bool_] = np.cumsum(crossings, axis=1)[:, :width] % 2 == 1
    return filled
