"""COCO's instances as classes of pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvcore.datasets.coco import place_image
from cvcore.datasets.files import Files
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
    try:
        categories = sorted((int(c["id"]), str(c["name"])) for c in document["categories"])
    except (KeyError, TypeError, ValueError) as error:
        raise SpecError(f"{name}: each of 'categories' needs a whole 'id' and a 'name'") from error
    labels = (BACKGROUND, *(label for _, label in categories if label != BACKGROUND))
    if len({key for key, _ in categories}) != len(categories) or len(set(labels)) != len(labels):
        raise SpecError(f"{name}: ids and names of 'categories' must differ from each other")
    class_ids = {key: labels.index(label) for key, label in categories}
    shapes = _shapes(document, class_ids, log)
    there = set(files.names)
    records = []
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
            records.append(MaskRecord(place, shapes=tuple(shapes.get(image_id, ()))))
    return records, labels


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
