"""Datasets of masks in one form: where each image's is, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cvcore.datasets.files import Files
from cvcore.datasets.mask_files import (
    IGNORED,
    Mask,
    class_ids,
    draw_instances,
    present_values,
    read_mask,
)
from cvcore.datasets.panoptic import class_map, read_segment_ids
from cvcore.datasets.problems import ProblemLog, Problems
from cvcore.errors import ImageError


@dataclass(frozen=True, slots=True)
class Shape:
    """One of COCO's instances: its class, its polygons or RLE, and whether it is a crowd."""

    class_id: int
    segmentation: Any
    crowd: bool


@dataclass(frozen=True, slots=True)
class MaskRecord:
    """An image with its mask.

    Attributes:
        name: of the image, inside the dataset's folder.
        mask: likewise of its mask; empty where `shapes` are drawn instead.
        shapes: of an image of COCO's.
        segments: of COCO panoptic, the class of each segment whose id is a colour of the mask.
    """

    name: str
    mask: str = ""
    shapes: tuple[Shape, ...] = ()
    segments: Mapping[int, int] | None = None


@dataclass(frozen=True, slots=True)
class MaskDataset:
    """Images with masks.

    Attributes:
        images: in the order of names, or of the file that lists them.
        labels: names of the classes, the background among them.
        values: the pixel value of each class in mask files.
    """

    images: tuple[MaskRecord, ...]
    labels: tuple[str, ...]
    values: tuple[int, ...]


class MaskLoader:
    """Gives the class ids of a dataset's images, and notes what is wrong with them."""

    def __init__(self, files: Files, values: Sequence[int], log: ProblemLog) -> None:
        self._files = files
        self._values = tuple(values)
        self._log = log

    def problems(self) -> Problems:
        """What was wrong so far."""
        return self._log.problems()

    def load(self, record: MaskRecord, *, height: int, width: int) -> Mask | None:
        """(height, width) class ids, 255 where nothing is judged; None for a mask that cannot be used.

        Args:
            record: of the image.
            height, width: of the image, upright, pixels.
        """
        found = self._read(record) if record.mask else self._drawn(record, height, width)
        if found is None:
            return None
        if found.shape != (height, width):
            self._log.add(
                "mask_size_differs",
                f"{record.mask}: {found.shape[1]}x{found.shape[0]}, the image is {width}x{height}",
            )
            return None
        if not present_values(found) - {0, IGNORED}:
            self._log.add("mask_without_objects", record.name)
        return found

    def _read(self, record: MaskRecord) -> Mask | None:
        try:
            body = self._files.read(record.mask)
            if record.segments is None:
                found, strange = class_ids(read_mask(body, name=record.mask), self._values)
            else:
                found, strange = class_map(read_segment_ids(body, name=record.mask), record.segments)
        except ImageError as error:
            self._log.add("mask_unreadable", str(error))
            return None
        if strange:
            self._log.add("mask_class_unknown", f"{record.mask}: {strange[:5]}")
        return found

    def _drawn(self, record: MaskRecord, height: int, width: int) -> Mask | None:
        try:
            shapes = [(each.class_id, each.segmentation, each.crowd) for each in record.shapes]
            return draw_instances(shapes, height=height, width=width)
        except ValueError as error:
            self._log.add("mask_unreadable", f"{record.name}: {error}")
            return None


def check_masks(
    dataset: MaskDataset, files: Files, sizes: Mapping[str, tuple[int, int] | None], log: ProblemLog
) -> None:
    """Look at every mask, and note what is wrong; `sizes` are (width, height) of the images by name."""
    loader = MaskLoader(files, dataset.values, log)
    for record in dataset.images:
        size = sizes.get(record.name)
        if size is not None:
            loader.load(record, height=size[1], width=size[0])
