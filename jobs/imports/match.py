"""What someone changed of an image's detections, told from what they were and what was given back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cvcore.errors import SpecError
from jobs.export.rows import Found
from jobs.imports.given import GivenBox

Action = Literal["accept", "relabel", "move", "reject", "add", "empty"]

TOLERANCE_PX = 0.02
"""Boxes that differ less are the same: CVAT gives back two decimals."""

MIN_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Change:
    """What is said of one object.

    Attributes:
        action: `accept` (it is as it was), `relabel`, `move` (another box, mask or track), `reject` (it is
            not there), `add` (it was not found), or `empty`, of an image without any object before and after.
        number: of the detection in its row; None for `add` and `empty`.
        given: what it is now; None for `reject` and `empty`.
    """

    action: Action
    number: int | None
    given: GivenBox | None


def changes(found: Sequence[Found], given: Sequence[GivenBox]) -> list[Change]:
    """Compare an image's detections with what was given back, in pixels.

    Objects that say which detection they come from are taken for it; the others go by overlap, best first,
    the same label before another.

    Raises:
        SpecError: if two objects say that they come from one detection.
    """
    pairs = _numbered(found, given)
    free = [k for k in range(len(given)) if k not in pairs.values()]
    left = [k for k in range(len(found)) if k not in pairs]
    pairs |= _overlapping(found, left, given, free)
    result = [
        _change(each, given[pairs[k]]) if k in pairs else Change("reject", each.number, None)
        for k, each in enumerate(found)
    ]
    taken = set(pairs.values())
    result += [Change("add", None, each) for k, each in enumerate(given) if k not in taken]
    return result or [Change("empty", None, None)]


def _numbered(found: Sequence[Found], given: Sequence[GivenBox]) -> dict[int, int]:
    """Places in `given` by places in `found`, of objects that say where they come from."""
    places = {each.number: k for k, each in enumerate(found)}
    pairs: dict[int, int] = {}
    for k, each in enumerate(given):
        place = None if each.number is None else places.get(each.number)
        if place is None:
            continue
        if place in pairs:
            raise SpecError(
                f"detection {each.number} is corrected twice, as {given[pairs[place]].label!r} and as "
                f"{each.label!r}: keep one, or take the number off what was added"
            )
        pairs[place] = k
    return pairs


def _overlapping(
    found: Sequence[Found], left: Sequence[int], given: Sequence[GivenBox], free: Sequence[int]
) -> dict[int, int]:
    ious = iou_matrix([found[k].box for k in left], [given[k].box for k in free])
    candidates = [
        (float(ious[a, b]), found[left[a]].label == given[free[b]].label, -a, -b)
        for a, b in zip(*np.nonzero(ious >= MIN_IOU), strict=True)
    ]
    pairs: dict[int, int] = {}
    for _, _, a, b in sorted(candidates, reverse=True):
        if left[-a] not in pairs and free[-b] not in pairs.values():
            pairs[left[-a]] = free[-b]
    return pairs


def iou_matrix(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> npt.NDArray[np.float64]:
    """Intersections over unions, (N, M), of boxes xyxy; 1 of a box with itself, also where it has no area."""
    a = np.asarray(one, np.float64).reshape(-1, 1, 4)
    b = np.asarray(other, np.float64).reshape(1, -1, 4)
    sides = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    inside = sides.prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - inside
    same = (np.abs(a - b) <= TOLERANCE_PX).all(-1)
    return np.where(same, 1.0, inside / np.where(union > 0, union, np.inf))


def _change(found: Found, given: GivenBox) -> Change:
    if found.label != given.label:
        return Change("relabel", found.number, given)
    moved = max(abs(a - b) for a, b in zip(found.box, given.box, strict=True)) > TOLERANCE_PX
    other_track = given.track_id is not None and given.track_id != found.track_id
    if moved or other_track or _differs(found.mask, given.mask):
        return Change("move", found.number, given)
    return Change("accept", found.number, _as_found(found))


def _differs(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> bool:
    if before is None or after is None:
        return after is not None
    return (list(before["size"]), before["counts"]) != (list(after["size"]), after["counts"])


def _as_found(found: Found) -> GivenBox:
    return GivenBox(found.label, found.box, found.score, found.number, found.track_id, found.mask)
