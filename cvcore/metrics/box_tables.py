"""Ground truth and detections of many images as columns, which metrics of boxes read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cvcore.track.association import iou_matrix

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class TrueBoxes:
    """Objects.

    Attributes:
        image_ids, label_ids: (N,).
        boxes: (N, 4) xyxy, pixels.
        difficult: (N,) VOC's flag: neither finding nor missing one counts.
        crowd: (N,) COCO's flag: a region of many objects, likewise.
    """

    image_ids: Ints
    label_ids: Ints
    boxes: Floats
    difficult: Bools
    crowd: Bools

    @property
    def counts(self) -> Bools:
        """(N,) what is to be found."""
        return ~(self.difficult | self.crowd)

    def __len__(self) -> int:
        return len(self.image_ids)


@dataclass(frozen=True, slots=True, eq=False)
class FoundBoxes:
    """Detections: (N,) `image_ids` and `label_ids`, (N, 4) `boxes` xyxy in pixels, (N,) `scores`."""

    image_ids: Ints
    label_ids: Ints
    boxes: Floats
    scores: Floats

    def __len__(self) -> int:
        return len(self.image_ids)

    def by_score(self) -> Ints:
        """(N,) rows, the best first; of equal scores, the first first."""
        return np.argsort(-self.scores, kind="stable")


@dataclass(frozen=True, slots=True, eq=False)
class BoxTables:
    """A dataset's truth and what was found in it; `labels` are names, which label ids index."""

    labels: tuple[str, ...]
    truth: TrueBoxes
    found: FoundBoxes


@dataclass(frozen=True, slots=True, eq=False)
class ImageOverlaps:
    """One image that has detections.

    Attributes:
        true_rows: (T,) of `TrueBoxes`, crowds apart; found_rows: (F,) of `FoundBoxes`.
        iou: (F, T).
        in_crowd: (F,) the largest share of a detection that a crowd of its class covers.
    """

    true_rows: Ints
    found_rows: Ints
    iou: Floats
    in_crowd: Floats


def make_tables(document: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> BoxTables:
    """Tables of a COCO instances document, in which `difficult` may stand, and of COCO results."""
    categories = {int(category["id"]): k for k, category in enumerate(document["categories"])}
    annotations = document["annotations"]
    truth = TrueBoxes(
        *_columns(annotations, categories),
        np.array([bool(a.get("difficult")) for a in annotations], bool),
        np.array([bool(a.get("iscrowd")) for a in annotations], bool),
    )
    scores = np.array([float(each["score"]) for each in results], np.float64)
    found = FoundBoxes(*_columns(results, categories), scores)
    return BoxTables(tuple(str(c["name"]) for c in document["categories"]), truth, found)


def _columns(
    entries: Sequence[Mapping[str, Any]], categories: Mapping[int, int]
) -> tuple[Ints, Ints, Floats]:
    image_ids = np.array([int(each["image_id"]) for each in entries], np.int64)
    # A model's label that the dataset lacks is the category -1: no true box has it.
    label_ids = np.array([categories.get(int(each["category_id"]), -1) for each in entries], np.int64)
    boxes = np.array([each["bbox"] for each in entries], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return image_ids, label_ids, boxes


def overlaps_by_image(truth: TrueBoxes, found: FoundBoxes) -> Iterator[ImageOverlaps]:
    """Each image that has detections, with the overlaps of its boxes."""
    true_rows, found_rows = _rows_by_image(truth.image_ids), _rows_by_image(found.image_ids)
    nothing = np.zeros(0, np.int64)
    for image_id, own in found_rows.items():
        every = true_rows.get(image_id, nothing)
        rows, crowds = every[~truth.crowd[every]], every[truth.crowd[every]]
        boxes = found.boxes[own]
        covered = _covered(boxes, truth.boxes[crowds])
        covered[found.label_ids[own][:, None] != truth.label_ids[crowds][None]] = 0.0
        yield ImageOverlaps(rows, own, iou_matrix(boxes, truth.boxes[rows]), covered.max(axis=1, initial=0.0))


def _rows_by_image(image_ids: Ints) -> dict[int, Ints]:
    order = np.argsort(image_ids, kind="stable")
    values, starts = np.unique(image_ids[order], return_index=True)
    parts = np.split(order, starts[1:]) if len(values) else []
    return dict(zip(values.tolist(), parts, strict=True))


def _covered(boxes: Floats, regions: Floats) -> Floats:
    """(F, 4) and (R, 4) xyxy to (F, R): the share of each box that lies in each region."""
    low = np.maximum(boxes[:, None, :2], regions[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    common = np.maximum(high - low, 0.0).prod(axis=2)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)[:, None]
    shares: Floats = np.divide(common, areas, out=np.zeros_like(common), where=areas > 0)
    return shares
