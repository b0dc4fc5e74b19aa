"""Masks as polygons along the edges of their pixels, and back, without loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Point = tuple[float, float]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Ring:
    """A closed outline of a mask.

    Attributes:
        points: its corners (x, y), pixels: clockwise on the screen around a piece, the other way around a
            hole; the first is its leftmost of the topmost.
        piece: which of the mask's pieces it is of, from 0; pixels that only touch at a corner are of two.
        hole: whether it goes around a hole.
    """

    points: list[Point]
    piece: int
    hole: bool


def mask_rings(mask: npt.NDArray[np.bool_]) -> list[Ring]:
    """The closed outlines of a mask, (H, W): of each of its pieces, and of each hole.

    The mask is what an odd number of them goes around. Where pixels meet is a ring's corner if an odd number
    of the four is inside, and two if those inside lie across; along each line, corners are then the ends of
    edges in turn.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return []
    top, left = int(rows[0]), int(columns[0])
    return _rings(mask[top : rows[-1] + 1, left : columns[-1] + 1], top, left)


def _rings(mask: npt.NDArray[np.bool_], top: int, left: int) -> list[Ring]:
    xs, ys, late = _corners(mask)
    across = _partners(np.lexsort((xs, ys)))
    # Where four edges meet, a corner is taken with its edges around one pixel that is inside.
    down = _partners(np.lexsort((late, ys, xs)))
    corners = list(zip(xs.tolist(), ys.tolist(), strict=True))
    cycles: list[tuple[list[int], bool]] = []
    seen = [False] * len(corners)
    for first, (x, y) in enumerate(corners):
        if not seen[first]:
            hole = not mask[y, x]
            cycles.append((_cycle(first, (down, across) if hole else (across, down), seen), hole))
    pieces = None if sum(not hole for _, hole in cycles) == 1 else ndimage.label(mask)[0]
    rings = []
    for members, hole in cycles:
        x, y = corners[members[0]]
        piece = 0 if pieces is None else int(pieces[y - hole, x]) - 1
        rings.append(Ring([(corners[k][0] + left, corners[k][1] + top) for k in members], piece, hole))
    return rings


def _corners(mask: npt.NDArray[np.bool_]) -> tuple[Ints, Ints, Ints]:
    """x and y of corners by rows, double ones twice, and their order among equals in a column."""
    padded = np.pad(mask, 1)
    a, b, c, d = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    crossed = (a == d) & (b == c) & (a != b)
    ys, xs = np.divmod(np.flatnonzero((a ^ b ^ c ^ d) | crossed), crossed.shape[1])
    double = crossed[ys, xs]
    # With the upper left pixel inside, the copy with the edge to the left has the upper edge too.
    falling = a[ys, xs]
    times = 1 + double
    copy = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
    late = np.where(np.repeat(double & ~falling, times), 1 - copy, copy)
    return np.repeat(xs, times), np.repeat(ys, times), late


def _partners(order: Ints) -> list[int]:
    """Of each corner the other end of its edge: corners in this order are ends of edges in turn."""
    partners = np.empty(len(order), np.int64)
    partners[order[0::2]], partners[order[1::2]] = order[1::2], order[0::2]
    found: list[int] = partners.tolist()
    return found


def _cycle(first: int, turns: tuple[list[int], list[int]], seen: list[bool]) -> list[int]:
    """The corners of a ring from one of them on, its edges being of both kinds in turn."""
    members, at, turn = [first], turns[0][first], 1
    seen[first] = True
    while at != first:
        members.append(at)
        seen[at] = True
        at, turn = turns[turn][at], 1 - turn
    return members


def mask_polygons(mask: npt.NDArray[np.bool_]) -> list[list[Point]]:
    """A polygon of each piece of a mask, (H, W), with bridges to its holes that are walked both ways.

    Filled by the even-odd rule, or by pycocotools, they are the mask.
    """
    pieces: dict[int, list[list[Point]]] = {}
    for ring in mask_rings(mask):
        # Rings come by their topmost corners, so a piece's own is before those of its holes.
        pieces.setdefault(ring.piece, []).append(ring.points)
    return [_joined(rings) for rings in pieces.values()]


def joined_outline(mask: npt.NDArray[np.bool_]) -> list[Point]:
    """One polygon of a whole mask, (H, W): its rings, with bridges that are walked both ways.

    Filled by the even-odd rule, as `fill_polygon` does, it is the mask; a mask without pixels has no corners.
    """
    return _joined([ring.points for ring in mask_rings(mask)])


def _joined(rings: Sequence[list[Point]]) -> list[Point]:
    if len(rings) < 2:
        return rings[0] if rings else []
    first, *others = rings
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
