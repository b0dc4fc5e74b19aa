"""A dataset in memory, the same whichever format it was read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float64]
LabelIds = npt.NDArray[np.int64]
Task = Literal["boxes", "classes"]


def no_boxes() -> Boxes:
    """Of an image with none: (0, 4)."""
    return np.zeros((0, 4), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class ImageRecord:
    """One image and what is known of it.

    Attributes:
        name: its path inside the dataset's folder.
        width, height: pixels, upright.
        boxes: (N, 4) float64, xyxy, pixels; edges, so that a box of the whole image ends at (width, height).
        label_ids: (N,) int64, indices into the dataset's labels; of an image in a folder of its class, that
            one, and no boxes.
        attributes: one mapping a box, of what the formats hold beyond it. `crowd`, `difficult` and
            `truncated` are there where they are true; `id`, `area`, `segmentation` and all other keys of
            COCO as they were; `voc` has what else VOC's objects have.
        details: likewise of the image: COCO's `id` and further keys, VOC's under `voc`.
    """

    name: str
    width: int
    height: int
    boxes: Boxes
    label_ids: LabelIds
    attributes: tuple[Mapping[str, Any], ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        num = len(self.boxes)
        if self.boxes.shape != (num, 4) or self.label_ids.ndim != 1 or len(self.attributes) != num:
            raise ValueError(
                f"{self.name}: boxes are (N, 4), label_ids (N,), attributes N; got {self.boxes.shape}, "
                f"{self.label_ids.shape}, {len(self.attributes)}"
            )
        if self.width < 1 or self.height < 1:
            raise ValueError(f"{self.name}: an image is at least 1x1, got {self.width}x{self.height}")


@dataclass(frozen=True, slots=True, eq=False)
class BoxDataset:
    """Images with boxes, or with a class each.

    Attributes:
        images: in the order of the files that list them.
        labels: names of the classes.
        task: `classes` where an image has one class and no boxes.
        label_details: one mapping a label, of what COCO's categories hold beyond the name; or none.
        details: COCO's `info`, `licenses` and what else stands beside the lists.
    """

    images: tuple[ImageRecord, ...]
    labels: tuple[str, ...]
    task: Task = "boxes"
    label_details: tuple[Mapping[str, Any], ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels must differ from each other, got {self.labels}")
        if self.label_details and len(self.label_details) != len(self.labels):
            raise ValueError(f"{len(self.labels)} labels have {len(self.label_details)} details")
        for image in self.images:
            ids, num = image.label_ids, len(image.boxes)
            if len(ids) != (1 if self.task == "classes" else num):
                raise ValueError(f"{image.name} has {len(ids)} label_ids and {num} boxes")
            if len(ids) and not 0 <= ids.min() <= ids.max() < len(self.labels):
                raise ValueError(f"{image.name}: label_ids must be 0 to {len(self.labels) - 1}, got {ids}")

    @property
    def num_boxes(self) -> int:
        return sum(len(image.boxes) for image in self.images)
