"""COCO's instances and panoptic segments as classes of pixels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from cvcore.datasets.coco import place_image
from cvcore.datasets.files import Files
from cvcore.datasets.mask_files import IGNORED
from cvcore.datasets.masks import MaskRecord, Shape
from cvcore.datasets.problems import ProblemLog
from cvcore.errors import SpecError

BACKGROUND = "background"


def coco_masks(
    document: Mapping[str, Any], name: str, files: Files, log: ProblemLog
) -> tuple[list[MaskRecord], tuple[str, ...]]:
    """The images of a document with their shapes, and the labels: the background, and the categories.

    Args:
        document: of COCO's instances.
        name: of it.
        files: of the dataset.
        log: is told of every problem.

    Raises:
        SpecError: if its categories have no distinct ids and names.
    """
    categories = _categories(document, name)
    labels = (BACKGROUND, *(label for _, label in categories if label != BACKGROUND))
    class_ids = {key: labels.index(label) for key, label in categories}
    shapes = _shapes(document, class_ids, log)
    placed = _placed(document, name, files, log)
    return [MaskRecord(place, shapes=tuple(shapes.get(key, ()))) for key, place in placed], labels


def panoptic_masks(
    document: Mapping[str, Any], name: str, files: Files, log: ProblemLog
) -> tuple[list[MaskRecord], tuple[str, ...]]:
    """The images of a document with their PNGs, and the labels: all of its categories, by id.

    PNGs lie in a folder that is named as the document is. Segments of crowds are not judged.

    Args:
        document: of COCO panoptic.
        name, files, log: see `coco_masks`.

    Raises:
        SpecError: if its categories have no distinct ids and names.
    """
    categories = _categories(document, name)
    class_ids = {key: place for place, (key, _) in enumerate(categories)}
    drawn, there = _segments(document, name, class_ids, log), set(files.names)
    records = []
    for key, place in _placed(document, name, files, log):
        mask, segments = drawn.get(key, ("", {}))
        if mask in there:
            records.append(MaskRecord(place, mask, segments=segments))
        else:
            log.add("mask_missing", place)
    return records, tuple(label for _, label in categories)


def _categories(document: Mapping[str, Any], name: str) -> list[tuple[int, str]]:
    """Ids and names, by id."""
    try:
        found = sorted((int(c["id"]), str(c["name"])) for c in document["categories"])
    except (KeyError, TypeError, ValueError) as error:
        raise SpecError(f"{name}: each of 'categories' needs a whole 'id' and a 'name'") from error
    if len({key for key, _ in found}) != len(found) or len({label for _, label in found}) != len(found):
        raise SpecError(f"{name}: ids and names of 'categories' must differ from each other")
    return found


def _placed(document: Mapping[str, Any], name: str, files: Files, log: ProblemLog) -> list[tuple[int, str]]:
    """Ids of the images that are there, and where."""
    there = set(files.names)
    found = []
    for position, image in enumerate(document["images"]):
        try:
            image_id, file_name = int(image["id"]), str(image["file_name"])
        except (KeyError, TypeError, ValueError):
            log.add("malformed", f"{name}: images[{position}] needs a whole 'id' and a 'file_name'")
            continue
        place = place_image(file_name, name, there)
        if place is None:
            log.add("name_outside", f"{name}: {file_name!r}")
        elif place not in there:
            log.add("image_missing", place)
        else:
            found.append((image_id, place))
    return found


def _segments(
    document: Mapping[str, Any], name: str, class_ids: Mapping[int, int], log: ProblemLog
) -> dict[int, tuple[str, dict[int, int]]]:
    """By image, its PNG and the class of each segment."""
    folder = PurePosixPath(name).with_suffix("")
    found = {}
    for position, annotation in enumerate(document["annotations"]):
        try:
            image_id, mask = int(annotation["image_id"]), PurePosixPath(str(annotation["file_name"]))
            segments = {}
            for each in annotation["segments_info"]:
                category = int(each["category_id"])
                if category not in class_ids:
                    log.add("class_unknown", f"annotations[{position}]: category_id {category}")
                    continue
                segments[int(each["id"])] = IGNORED if each.get("iscrowd") else class_ids[category]
        except (KeyError, TypeError, ValueError):
            log.add("malformed", f"annotations[{position}] needs 'image_id', 'file_name', 'segments_info'")
            continue
        found[image_id] = (str(folder / mask), segments)
    return found


def _shapes(
    document: Mapping[str, Any], class_ids: Mapping[int, int], log: ProblemLog
) -> dict[int, list[Shape]]:
    """By image."""
    found: dict[int, list[Shape]] = {}
    for position, annotation in enumerate(document["annotations"]):
        try:
            image_id, category_id = int(annotation["image_id"]), int(annotation["category_id"])
            segmentation, crowd = annotation["segmentation"], bool(annotation.get("iscrowd"))
        except (KeyError, TypeError, ValueError):
            log.add("malformed", f"annotations[{position}] needs 'segmentation', 'image_id', 'category_id'")
            continue
        if category_id not in class_ids:
            log.add("class_unknown", f"annotations[{position}]: category_id {category_id}")
        elif segmentation:
            found.setdefault(image_id, []).append(Shape(class_ids[category_id], segmentation, crowd))
    return found
