"""Datasets as files of another format."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Literal, get_args

import numpy as np
import yaml

from cvcore.datasets.coco import coco_document
from cvcore.datasets.joined import joined_labels, with_labels
from cvcore.datasets.records import BoxDataset, ImageRecord
from cvcore.datasets.splits import ALIASES, SPLITS
from cvcore.datasets.voc import ANNOTATIONS, IMAGES, SETS
from cvcore.datasets.voc_write import annotation_xml
from cvcore.datasets.yolo import label_name, label_text
from cvcore.errors import SpecError

Target = Literal["coco", "voc", "yolo"]
TARGETS: tuple[Target, ...] = get_args(Target)
_FOLDERS = {"images", IMAGES, *ALIASES}


@dataclass(frozen=True, slots=True)
class Output:
    """What is to be written.

    Attributes:
        files: bytes by name inside the new folder.
        images: (record's name, name inside the new folder), each of the latter once.
        losses: what the format cannot hold, and how often it was there.
        num_renamed: images whose file is called otherwise now, since another has its name.
    """

    files: Mapping[str, bytes]
    images: tuple[tuple[str, str], ...]
    losses: Mapping[str, int]
    num_renamed: int


def write_dataset(splits: Mapping[str, BoxDataset], to: Target) -> Output:
    """Annotations of a dataset in another format, and where its images go.

    Args:
        splits: by name; `""` alone for a dataset without splits. Classes are joined by name.
        to: the format.

    Raises:
        SpecError: for a dataset of classes, or a split that the format has no place for.
    """
    if any(dataset.task != "boxes" for dataset in splits.values()):
        raise SpecError(f"a dataset of folders has a class for each image and no boxes: it cannot be {to}")
    refuse_other_splits(splits)
    labels = joined_labels(list(splits.values()))
    alike = {split: with_labels(dataset, labels) for split, dataset in splits.items()}
    names = plain_names((image.name for d in alike.values() for image in d.images), flat=to == "voc")
    num_renamed = sum(PurePosixPath(old).name != PurePosixPath(new).name for old, new in names.items())
    files, images, losses = {"coco": _coco, "voc": _voc, "yolo": _yolo}[to](alike, labels, names)
    return Output(files, tuple(dict.fromkeys(images)), dict(losses), num_renamed)


def refuse_other_splits(splits: Iterable[str]) -> None:
    """Raises `SpecError` for a split that is not train, val, test, or `""`, which stands for none."""
    if strangers := sorted(set(splits) - {*SPLITS, ""}):
        raise SpecError(f"splits are {', '.join(SPLITS)}; {', '.join(strangers)} must be called one of these")


_Found = tuple[dict[str, bytes], list[tuple[str, str]], Counter[str]]


def _coco(splits: Mapping[str, BoxDataset], labels: tuple[str, ...], names: Mapping[str, str]) -> _Found:
    del labels
    files = {}
    for split, dataset in splits.items():
        document = json.dumps(coco_document(dataset, file_names=names)).encode()
        files[f"annotations/instances_{split}.json" if split else "annotations.json"] = document
    return files, [(old, f"images/{new}") for old, new in names.items()], Counter()


def _voc(splits: Mapping[str, BoxDataset], labels: tuple[str, ...], names: Mapping[str, str]) -> _Found:
    files: dict[str, bytes] = {}
    for split, dataset in splits.items():
        stems = []
        for image in dataset.images:
            stem = PurePosixPath(names[image.name]).stem
            stems.append(stem)
            files[f"{ANNOTATIONS}/{stem}.xml"] = annotation_xml(image, labels, file_name=names[image.name])
        if split:
            files[f"{SETS}/{split}.txt"] = "".join(f"{stem}\n" for stem in stems).encode()
    lists = {split: split for split in splits if split}
    files["dataset.yaml"] = _description(format="voc", **lists, names=list(labels))
    losses: Counter[str] = Counter()
    for dataset in splits.values():
        losses |= _dataset_losses(dataset)
    return files, [(old, f"{IMAGES}/{new}") for old, new in names.items()], losses


def _yolo(splits: Mapping[str, BoxDataset], labels: tuple[str, ...], names: Mapping[str, str]) -> _Found:
    files: dict[str, bytes] = {}
    images: list[tuple[str, str]] = []
    losses: Counter[str] = Counter()
    shared: Counter[str] = Counter()
    for split, dataset in splits.items():
        for image in dataset.images:
            place = "/".join(filter(None, ("images", split, names[image.name])))
            images.append((image.name, place))
            kept = _without_crowds(image)
            losses["crowd boxes, left out"] += len(image.boxes) - len(kept.boxes)
            losses.update(_image_losses(kept))
            files[label_name(place)] = label_text(kept).encode()
        shared |= _dataset_losses(dataset)
    places = {split: "/".join(filter(None, ("images", split))) for split in splits}
    # Ultralytics asks for both.
    places = {"train": places[""], "val": places[""]} if "" in places else places
    files["data.yaml"] = _description(**places, names=dict(enumerate(labels)))
    return files, images, +(losses + shared)


def _description(**content: Any) -> bytes:
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text.encode()


def plain_names(names: Iterable[str], *, flat: bool) -> dict[str, str]:
    """What images are called in the new folder: as they were, without the old layout's folders.

    No two differ in nothing but the extension, since annotations are named without it.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in dict.fromkeys(names):
        parts = name.split("/")
        while len(parts) > 1 and parts[0] in _FOLDERS:
            del parts[0]
        plain = PurePosixPath(("__" if flat else "/").join(parts))
        number, stem = 1, plain.stem
        while str(plain.with_suffix("")) in taken:
            number += 1
            plain = plain.with_stem(f"{stem}-{number}")
        taken.add(str(plain.with_suffix("")))
        found[name] = str(plain)
    return found


def _without_crowds(image: ImageRecord) -> ImageRecord:
    kept = [k for k, facts in enumerate(image.attributes) if not facts.get("crowd")]
    if len(kept) == len(image.boxes):
        return image
    at = np.array(kept, np.int64)
    attributes = tuple(image.attributes[k] for k in kept)
    return replace(image, boxes=image.boxes[at], label_ids=image.label_ids[at], attributes=attributes)


def _image_losses(image: ImageRecord) -> Counter[str]:
    losses = Counter(f"images' {key}" for key in image.details)
    for box, facts in zip(image.boxes, image.attributes, strict=True):
        extent = (box[2] - box[0]) * (box[3] - box[1])
        area = facts.get("area")
        # What the box itself says is not lost.
        same_area = isinstance(area, (int, float)) and abs(area - extent) <= 1e-6 * max(1.0, extent)
        losses.update(f"boxes' {key}" for key in facts if not (key == "area" and same_area))
    return losses


def _dataset_losses(dataset: BoxDataset) -> Counter[str]:
    losses = Counter(f"the dataset's {key}" for key in dataset.details)
    for k, facts in enumerate(dataset.label_details):
        losses.update(f"categories' {key}" for key in facts if not (key == "id" and facts["id"] == k + 1))
    return losses
