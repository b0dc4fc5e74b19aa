"""From what a format's reader found to checked records: the same checks for all formats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from cvcore.datasets.files import Files, Size, read_sizes
from cvcore.datasets.problems import ProblemLog
from cvcore.datasets.records import ImageRecord, no_boxes

Look = Literal["names", "sizes", "pixels"]
"""How closely images are looked at: whether they are listed, the size in their headers, or every pixel."""

EDGE_PX = 0.01
"""Boxes that reach out less, as rounded numbers do, are clipped without a word."""


@dataclass(slots=True)
class Draft:
    """An image as a file of annotations has it, unchecked.

    Attributes:
        name: inside the dataset's folder.
        size: as stated; None where it is not.
        boxes: xyxy, pixels.
        label_ids, attributes: one a box.
        details: of the image.
    """

    name: str
    size: Size | None = None
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    label_ids: list[int] = field(default_factory=list)
    attributes: list[dict[str, Any]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def add(self, box: tuple[float, float, float, float], label_id: int, attributes: dict[str, Any]) -> None:
        self.boxes.append(box)
        self.label_ids.append(label_id)
        self.attributes.append(attributes)


def finish_records(
    drafts: Sequence[Draft],
    *,
    num_labels: int,
    files: Files,
    log: ProblemLog,
    look: Look,
    sizes: dict[str, Size | None] | None = None,
) -> tuple[ImageRecord, ...]:
    """Check drafts and make records of them; images that are missing or unreadable are left out.

    Args:
        drafts: one an image name; see `join_drafts`.
        num_labels: label ids are 0 to this, exclusive; boxes with others are left out.
        files: where images are looked for.
        log: is told of every problem.
        look: how closely; an image without a stated size is always asked for it.
        sizes: of the files, where they are known already.
    """
    there = set(files.names)
    kept = []
    for draft in drafts:
        if draft.name in there:
            kept.append(draft)
        else:
            log.add("image_missing", draft.name)
    if sizes is None or look == "pixels":
        asked = [draft.name for draft in kept if look != "names" or draft.size is None]
        sizes = read_sizes(files, asked, log, decode=look == "pixels")
    records = []
    for draft in kept:
        size = sizes.get(draft.name, draft.size)
        if size is not None:
            records.append(_record(draft, size, num_labels, log))
    return tuple(records)


def join_drafts(drafts: Sequence[Draft], log: ProblemLog) -> list[Draft]:
    """One draft a name: the first one, with the boxes of all."""
    by_name: dict[str, Draft] = {}
    for draft in drafts:
        first = by_name.setdefault(draft.name, draft)
        if first is not draft:
            log.add("image_duplicate_name", draft.name)
            for box, label_id, attributes in zip(draft.boxes, draft.label_ids, draft.attributes, strict=True):
                first.add(box, label_id, attributes)
    return list(by_name.values())


def _record(draft: Draft, size: Size, num_labels: int, log: ProblemLog) -> ImageRecord:
    if draft.size is not None and draft.size != size:
        stated = f"{draft.size[0]}x{draft.size[1]}"
        log.add("image_size_differs", f"{draft.name}: {stated} stated, the file is {size[0]}x{size[1]}")
    boxes, label_ids, attributes = [], [], []
    seen: set[tuple[object, ...]] = set()
    for box, label_id, facts in zip(draft.boxes, draft.label_ids, draft.attributes, strict=True):
        if not 0 <= label_id < num_labels:
            log.add("class_unknown", f"{draft.name}: class {label_id}")
            continue
        clipped = _clipped(box, size, draft.name, log)
        if clipped is None:
            continue
        key = (*clipped, label_id, bool(facts.get("crowd")))
        if key in seen:
            log.add("box_duplicate", f"{draft.name}: {_shown(clipped)}")
            continue
        seen.add(key)
        boxes.append(clipped)
        label_ids.append(label_id)
        attributes.append(facts)
    if not boxes:
        log.add("image_without_boxes", draft.name)
    return ImageRecord(
        draft.name,
        *size,
        np.array(boxes, np.float64) if boxes else no_boxes(),
        np.array(label_ids, np.int64),
        tuple(attributes),
        draft.details,
    )


def _clipped(
    box: tuple[float, float, float, float], size: Size, name: str, log: ProblemLog
) -> tuple[float, float, float, float] | None:
    """The part of a box that lies in its image; None if that has no area."""
    if all(map(math.isfinite, box)):
        x1, x2 = (min(max(x, 0.0), float(size[0])) for x in box[0::2])
        y1, y2 = (min(max(y, 0.0), float(size[1])) for y in box[1::2])
        if x2 > x1 and y2 > y1:
            clipped = (x1, y1, x2, y2)
            if max(abs(a - b) for a, b in zip(box, clipped, strict=True)) > EDGE_PX:
                log.add("box_outside", f"{name}: {_shown(box)} in {size[0]}x{size[1]}")
            return clipped
    log.add("box_without_area", f"{name}: {_shown(box)} in {size[0]}x{size[1]}")
    return None


def _shown(box: tuple[float, float, float, float]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in box) + ")"
