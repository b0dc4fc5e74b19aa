"""Datasets of masks as files of another format."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, get_args

import numpy as np
import yaml

from cvcore.datasets.coco_shapes import BACKGROUND
from cvcore.datasets.layout import DOCUMENT
from cvcore.datasets.mask_files import IGNORED, Mask
from cvcore.datasets.mask_layout import (
    FOLDERS,
    PANOPTIC_DOCUMENT,
    PANOPTIC_PREFIX,
    VOC_IMAGES,
    VOC_MASKS,
    VOC_SETS,
    MaskFormat,
)
from cvcore.datasets.write import plain_names, refuse_other_splits
from cvcore.ops.masks import encode_rle, mask_area, mask_box

MASK_TARGETS: tuple[MaskFormat, ...] = get_args(MaskFormat)
DOCUMENTED: tuple[MaskFormat, ...] = ("coco", "panoptic")
"""Formats whose documents list the images of a split, and what is in each."""
_CROWD = 1  # COCO's document has a category for everything; what is not judged is a crowd of the first one


@dataclass(frozen=True, slots=True)
class MaskPlaces:
    """Where the files of a dataset of masks go, inside the new folder.

    Attributes:
        to: the format.
        images: by split and record's name, the image's.
        masks: likewise its mask's; none of COCO's instances, which are in the documents.
        num_renamed: images whose file is called otherwise now.
    """

    to: MaskFormat
    images: Mapping[tuple[str, str], str]
    masks: Mapping[tuple[str, str], str]
    num_renamed: int


def place_masks(splits: Mapping[str, Sequence[str]], to: MaskFormat) -> MaskPlaces:
    """Choose names of files.

    Args:
        splits: names of images by split; `""` alone for a dataset without splits.
        to: the format.

    Raises:
        SpecError: for a split that the format has no place for.
    """
    refuse_other_splits(splits)
    plain = plain_names((name for names in splits.values() for name in names), flat=to == "voc")
    of_images, of_masks = (VOC_IMAGES, VOC_MASKS) if to == "voc" else FOLDERS[0]
    images, masks = {}, {}
    for split, names in splits.items():
        inner = f"{split}/" if split and to == "masks" else ""
        for name in names:
            images[split, name] = f"{of_images}/{inner}{plain[name]}"
            png = PurePosixPath(plain[name]).with_suffix(".png")
            if to == "panoptic":
                masks[split, name] = str(PurePosixPath(document_name(split, to)).with_suffix("") / png)
            elif to != "coco":
                masks[split, name] = f"{of_masks}/{inner}{png}"
    renamed = sum(PurePosixPath(old).name != PurePosixPath(new).name for old, new in plain.items())
    return MaskPlaces(to, images, masks, renamed)


def document_name(split: str, to: MaskFormat) -> str:
    """Of COCO's formats, the document of a split, or of everything."""
    if to == "panoptic":
        return f"annotations/{PANOPTIC_PREFIX}{split}.json" if split else PANOPTIC_DOCUMENT
    return f"annotations/instances_{split}.json" if split else DOCUMENT


def describing_files(places: MaskPlaces, labels: Sequence[str]) -> dict[str, bytes]:
    """What says the classes, and VOC's splits; of COCO that are its documents.

    Args:
        places: of the files that are there in the end.
        labels: names of the classes.
    """
    if places.to in DOCUMENTED:
        return {}
    files = {"dataset.yaml": yaml.safe_dump({"names": list(labels)}, allow_unicode=True).encode()}
    if places.to == "voc":
        lists: dict[str, list[str]] = {}
        for (split, _), name in places.images.items():
            lists.setdefault(split, []).append(PurePosixPath(name).stem)
        files |= {
            f"{VOC_SETS}/{split}.txt": "".join(f"{stem}\n" for stem in stems).encode()
            for split, stems in lists.items()
            if split
        }
    return files


@dataclass(frozen=True, slots=True)
class CocoShape:
    """The pixels of one class in an image, as an RLE; `crowd` are those that are not judged."""

    class_id: int
    rle: dict[str, Any]
    crowd: bool = False


def coco_shapes(ids: Mask) -> list[CocoShape]:
    """A map's classes, (H, W) ids, each as one shape: COCO has no outline of the background."""
    there = [k for k in np.unique(ids).tolist() if k]
    rles = encode_rle(np.stack([ids == k for k in there])) if there else []
    return [
        CocoShape(_CROWD, rle, crowd=True) if k == IGNORED else CocoShape(k, rle)
        for k, rle in zip(there, rles, strict=True)
    ]


def coco_document_of(
    images: Iterable[tuple[str, int, int, Sequence[CocoShape]]], labels: Sequence[str]
) -> bytes:
    """A document of COCO's instances: name, height and width of images with their shapes."""
    stated: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, (name, height, width, shapes) in enumerate(images, start=1):
        stated.append({"id": image_id, "file_name": name, "height": height, "width": width})
        for shape in shapes:
            box = mask_box(shape.rle)
            assert box is not None, "a class that is there has pixels"
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": shape.class_id,
                    "segmentation": shape.rle,
                    "area": mask_area(shape.rle),
                    "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    "iscrowd": int(shape.crowd),
                }
            )
    categories = [{"id": k, "name": label} for k, label in enumerate(labels) if k]
    return json.dumps({"images": stated, "annotations": annotations, "categories": categories}).encode()


def mask_losses(to: MaskFormat, labels: Sequence[str], num_shapes: int) -> dict[str, int]:
    """What the format cannot hold, and how often it was there.

    Args:
        to: the format.
        labels: names of the classes.
        num_shapes: objects of the source that have outlines of their own.
    """
    losses = {}
    if num_shapes:
        losses["objects, drawn into the map of their classes"] = num_shapes
    if to == "coco" and labels[0] != BACKGROUND:
        losses[f"background's name, {labels[0]}"] = 1
    return losses
