"""Finding images and their masks by the names of files: mask folders, Pascal VOC's, COCO's documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from cvcore.datasets.coco import parse_document
from cvcore.datasets.coco_shapes import coco_masks, panoptic_masks
from cvcore.datasets.description import Description
from cvcore.datasets.files import Files, is_image
from cvcore.datasets.layout import coco_documents
from cvcore.datasets.mask_files import BINARY, IGNORED, present_values, read_mask
from cvcore.datasets.masks import MaskDataset, MaskRecord
from cvcore.datasets.problems import ProblemLog
from cvcore.datasets.splits import ALIASES
from cvcore.detect.labels import VOC_LABELS
from cvcore.errors import ImageError, SpecError

FOLDERS = (("images", "masks"), ("image", "mask"), ("image", "label"), ("images", "annotations"))
VOC_IMAGES, VOC_MASKS, VOC_SETS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"
_LAYOUTS = (
    "images/ with masks/ (an image and a mask of the same name; also images/train/ with masks/train/), "
    "JPEGImages/ with SegmentationClass/, or images/ with annotations.json of COCO's instances, or with "
    "panoptic.json and panoptic/"
)

MaskFormat = Literal["masks", "voc", "coco", "panoptic"]
EVERYTHING = "all"
PANOPTIC_DOCUMENT, PANOPTIC_PREFIX = "panoptic.json", "panoptic_"
_DOCUMENTS: Mapping[MaskFormat, Mapping[str, Any]] = {
    "coco": {},
    "panoptic": {"whole": (PANOPTIC_DOCUMENT,), "prefix": PANOPTIC_PREFIX},
}


@dataclass(frozen=True, slots=True)
class MaskLayout:
    """Where masks are.

    Attributes:
        format: what holds them.
        splits: names of images by split; empty where there are none. Of COCO: its documents.
        masks: the mask of each image; empty for COCO, whose documents say it.
    """

    format: MaskFormat
    splits: Mapping[str, tuple[str, ...]]
    masks: Mapping[str, str]


def find_masks(files: Files, description: Description) -> MaskLayout:
    """The layout of a folder.

    Raises:
        SpecError: if it has no masks.
    """
    voc = _pairs(files.names, VOC_IMAGES, VOC_MASKS)
    if voc:
        return MaskLayout("voc", _voc_splits(files, voc), voc)
    for images, masks in FOLDERS:
        found = _pairs(files.names, images, masks)
        if found:
            return MaskLayout("masks", _folder_splits(files, found, description), found)
    documents = _documents(files)
    if documents is not None:
        return documents
    raise SpecError(f"the folder holds no masks: it needs {_LAYOUTS}")


def read_masks(
    files: Files, layout: MaskLayout, description: Description, split: str | None, *, log: ProblemLog
) -> MaskDataset:
    """Images of a split, or all, with the classes of the whole dataset.

    Raises:
        SpecError: for a split that is not there, or classes that cannot be told.
    """
    if split is not None and split not in layout.splits:
        raise SpecError(f"there is no split {split!r}: there are {', '.join(layout.splits) or 'none'}")
    if layout.format in _DOCUMENTS:
        read = coco_masks if layout.format == "coco" else panoptic_masks
        names = [n for key, each in layout.splits.items() if split in (None, key) for n in each]
        parts = [read(parse_document(files.read(name), name), name, files, log) for name in names]
        labels = parts[0][1]
        if any(other != labels for _, other in parts):
            raise SpecError(f"{', '.join(names)} have other categories than each other")
        if len(labels) > IGNORED:
            raise SpecError(f"{', '.join(names)}: a mask holds {IGNORED} classes, not {len(labels)}")
        images = tuple(record for records, _ in parts for record in records)
        return MaskDataset(images, labels, tuple(range(len(labels))))
    labels, values = _classes(files, layout, description)
    wanted = sorted(layout.masks) if split is None else layout.splits[split]
    there = [name for name in wanted if name in layout.masks]
    for name in wanted:
        if name not in layout.masks:
            log.add("mask_missing", name)
    return MaskDataset(tuple(MaskRecord(n, layout.masks[n]) for n in there), labels, values)


def _pairs(names: Sequence[str], images: str, masks: str) -> dict[str, str]:
    """The mask of each image: of `images/a/b.jpg` it is `masks/a/b.png`, below any folder."""
    by_stem = {
        PurePosixPath(name).with_suffix(""): name
        for name in names
        if masks in name.split("/")[:-1] and is_image(name)
    }
    found = {}
    for name in names:
        parts = name.split("/")
        if images in parts[:-1] and is_image(name):
            place = parts.index(images)
            other = PurePosixPath(*parts[:place], masks, *parts[place + 1 :]).with_suffix("")
            if other in by_stem:
                found[name] = by_stem[other]
    return found


def _voc_splits(files: Files, masks: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    by_stem = {PurePosixPath(name).stem: name for name in masks}
    splits = {}
    for split in ("train", "val", "test"):
        name = f"{VOC_SETS}/{split}.txt"
        if name in files.names:
            stems = files.read(name).decode("utf-8-sig", errors="replace").split()
            splits[split] = tuple(by_stem.get(stem, f"{VOC_IMAGES}/{stem}.jpg") for stem in stems)
    return splits


def _folder_splits(
    files: Files, masks: Mapping[str, str], description: Description
) -> dict[str, tuple[str, ...]]:
    if description.splits:
        return {
            split: tuple(n for entry in entries for n in _named(files, masks, entry, split))
            for split, entries in description.splits.items()
        }
    splits: dict[str, tuple[str, ...]] = {}
    for name in sorted(masks):
        found = next((ALIASES[part] for part in name.split("/")[:-1] if part in ALIASES), None)
        if found is not None:
            splits[found] = (*splits.get(found, ()), name)
    return splits


def _named(files: Files, masks: Mapping[str, str], entry: str, split: str) -> list[str]:
    """Images that an entry of a description names: a folder's, or those of a list, by path or by stem."""
    if entry not in files.names:
        found = [name for name in sorted(masks) if name.startswith(f"{entry}/")]
        if not found:
            raise SpecError(f"the split {split} is said to be {entry!r}, and no image with a mask is there")
        return found
    by_stem = {PurePosixPath(name).stem: name for name in masks}
    lines = files.read(entry).decode("utf-8-sig", errors="replace").splitlines()
    wanted = [line.strip() for line in lines if line.strip()]
    return [line if line in masks else by_stem.get(PurePosixPath(line).stem, line) for line in wanted]


def _documents(files: Files) -> MaskLayout | None:
    """COCO's documents by split; one of everything is the split `all`. Instances come before panoptic."""
    for kind, options in _DOCUMENTS.items():
        found = coco_documents(files.names, **options)
        if found is not None:
            splits, whole = found
            return MaskLayout(kind, splits or {EVERYTHING: whole}, {})
    return None


def _classes(
    files: Files, layout: MaskLayout, description: Description
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names and pixel values: said by the description, VOC's, or those that the masks hold."""
    labels = description.names
    if layout.format == "voc" and not labels:
        labels = ("background", *VOC_LABELS)
    if len(labels) > 2:
        return labels, tuple(range(len(labels)))
    there = _values_of(files, layout)
    if there <= set(BINARY) and len(there) > 1:
        return labels or ("background", "object"), BINARY
    highest = max(there - {IGNORED}, default=0)
    if not labels:
        labels = ("background", *(f"class {k}" for k in range(1, max(highest + 1, 2))))
    return labels, tuple(range(len(labels)))


def _values_of(files: Files, layout: MaskLayout) -> set[int]:
    """All pixel values of all masks that can be read."""

    def look(name: str) -> set[int]:
        try:
            return present_values(read_mask(files.read(name), name=name))
        except ImageError:
            return set()

    return set().union(*files.map(look, sorted(layout.masks.values())))
