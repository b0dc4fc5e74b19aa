"""COCO's instances JSON: https://cocodataset.org/#format-data. Boxes there are xywh, pixels, edges."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from cvcore.datasets.drafts import Draft, Look, finish_records, join_drafts
from cvcore.datasets.files import Files, inner_name
from cvcore.datasets.problems import ProblemLog
from cvcore.datasets.records import BoxDataset, ImageRecord
from cvcore.errors import SpecError

DECIMALS = 9
"""Of written numbers: x + w - x, in binary, is w to this."""

_LISTS = ("images", "annotations", "categories")
_IMAGE_KEYS = {"file_name", "width", "height"}
_ANNOTATION_KEYS = {"bbox", "image_id", "category_id", "iscrowd"}


def parse_document(body: bytes, name: str) -> dict[str, Any]:
    """A COCO instances document; raises `SpecError` for what is none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{name} is not JSON: {error}") from error
    holder = document if isinstance(document, dict) else {}
    missing = [key for key in _LISTS if not isinstance(holder.get(key), list)]
    if missing:
        raise SpecError(
            f"{name} is not a COCO document: it has no list {', '.join(missing)}; "
            "write 'images', 'annotations' and 'categories'"
        )
    return holder


def read_coco(
    files: Files, document_name: str, names: Sequence[str], *, log: ProblemLog, look: Look
) -> BoxDataset:
    """Read one document and check it.

    Args:
        files: of the dataset.
        document_name: the document's.
        names: the labels and their order; empty for the document's categories in the order of their ids.
        log: is told of every problem.
        look: how closely images are looked at.

    Raises:
        SpecError: if it is not a COCO instances document, or its categories have no distinct ids and names.
    """
    document = parse_document(files.read(document_name), document_name)
    categories = _categories(document, document_name)
    labels = tuple(names) or tuple(str(category["name"]) for category in categories.values())
    index = {label: k for k, label in enumerate(labels)}
    label_ids = {
        key: index[category["name"]] for key, category in categories.items() if category["name"] in index
    }
    details: list[dict[str, Any]] = [{} for _ in labels]
    for key, label_id in label_ids.items():
        details[label_id] = {k: v for k, v in categories[key].items() if k != "name"}
    drafts = _drafts(document["images"], files, document_name, log)
    _add_boxes(document["annotations"], drafts, label_ids, log)
    records = finish_records(
        join_drafts([draft for draft in drafts.values() if draft is not None], log),
        num_labels=len(labels),
        files=files,
        log=log,
        look=look,
    )
    rest = {key: value for key, value in document.items() if key not in _LISTS}
    return BoxDataset(records, labels, label_details=tuple(details), details=rest)


def _categories(document: Mapping[str, Any], name: str) -> dict[int, dict[str, Any]]:
    """Categories by id, in the order of ids."""
    try:
        found = [(int(c["id"]), {**c, "name": str(c["name"])}) for c in document["categories"]]
    except (KeyError, TypeError, ValueError) as error:
        raise SpecError(f"{name}: each of 'categories' needs a whole 'id' and a 'name'") from error
    by_id = dict(sorted(found, key=lambda each: each[0]))
    if len(by_id) != len(found) or len({c["name"] for c in by_id.values()}) != len(found):
        raise SpecError(f"{name}: ids and names of 'categories' must differ from each other")
    return by_id


def _drafts(
    images: Iterable[Any], files: Files, document_name: str, log: ProblemLog
) -> dict[int, Draft | None]:
    """Images by id; None for one that is left out, so that its annotations are not of no image."""
    there = set(files.names)
    drafts: dict[int, Draft | None] = {}
    for position, image in enumerate(images):
        try:
            image_id, file_name = int(image["id"]), str(image["file_name"])
        except (KeyError, TypeError, ValueError):
            log.add("malformed", f"{document_name}: images[{position}] needs a whole 'id' and a 'file_name'")
            continue
        if image_id in drafts:
            log.add("image_duplicate_id", f"{document_name}: {image_id} ({file_name})")
            continue
        drafts[image_id] = None
        name = place_image(file_name, document_name, there)
        if name is None:
            log.add("name_outside", f"{document_name}: {file_name!r}")
            continue
        rest = {key: value for key, value in image.items() if key not in _IMAGE_KEYS}
        drafts[image_id] = Draft(name, _size(image), details=rest)
    return drafts


def place_image(file_name: str, document_name: str, there: set[str]) -> str | None:
    """Where an image lies: in `images/`, a folder that is named as the document is, or beside it."""
    stem = PurePosixPath(document_name).stem.removeprefix("instances_").removeprefix("panoptic_")
    beside = str(PurePosixPath(document_name).parent)
    own = () if beside in (".", "annotations") else (f"{beside}/images", beside)
    folders = (*own, "images", stem, f"images/{stem}", "", beside)
    places = [inner_name(folder, file_name) for folder in folders]
    found = next((place for place in places if place in there), places[0])
    return None if inner_name(file_name) is None else found


def _size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    try:
        width, height = int(image["width"]), int(image["height"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def _add_boxes(
    annotations: Iterable[Any],
    drafts: Mapping[int, Draft | None],
    label_ids: Mapping[int, int],
    log: ProblemLog,
) -> None:
    seen: set[Any] = set()
    for position, annotation in enumerate(annotations):
        where = f"annotations[{position}]"
        try:
            x, y, w, h = map(float, annotation["bbox"])
            image_id, category_id = int(annotation["image_id"]), int(annotation["category_id"])
            crowd = bool(annotation.get("iscrowd"))
            key = annotation.get("id")
            is_known = key is not None and key in seen
            seen.add(key)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            log.add("malformed", f"{where} needs 'bbox' of four numbers, 'image_id' and 'category_id'")
            continue
        if image_id not in drafts:
            log.add("annotation_without_image", f"{where}: image_id {image_id}")
            continue
        if is_known:
            log.add("annotation_duplicate_id", f"{where}: id {key}")
        draft = drafts[image_id]
        if draft is None:
            continue
        facts = {k: v for k, v in annotation.items() if k not in _ANNOTATION_KEYS}
        if crowd:
            facts["crowd"] = True
        if category_id not in label_ids:
            log.add("class_unknown", f"{where}: category_id {category_id}")
            continue
        draft.add((x, y, x + w, y + h), label_ids[category_id], facts)


def coco_document(dataset: BoxDataset, *, file_names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A COCO instances document of a dataset.

    Ids are those that it was read with, where all have one and all differ; else they count from 1.

    Args:
        dataset: of boxes.
        file_names: what to call images, by record name; default the record's name.

    Raises:
        ValueError: for a dataset of classes, which has no boxes.
    """
    if dataset.task != "boxes":
        raise ValueError("a dataset of classes has no boxes that COCO could hold")
    image_ids = _ids([image.details for image in dataset.images])
    annotation_ids = iter(_ids([facts for image in dataset.images for facts in image.attributes]))
    category_ids = _ids(dataset.label_details or [{} for _ in dataset.labels])
    images, annotations = [], []
    for image_id, image in zip(image_ids, dataset.images, strict=True):
        name = image.name if file_names is None else file_names[image.name]
        stated = {"id": image_id, "file_name": name, "width": image.width, "height": image.height}
        images.append({**image.details, **stated})
        annotations += [
            _annotation(image, k, next(annotation_ids), image_id, category_ids)
            for k in range(len(image.boxes))
        ]
    details = dataset.label_details or ({},) * len(dataset.labels)
    categories = [
        {**facts, "id": category_id, "name": label}
        for facts, category_id, label in zip(details, category_ids, dataset.labels, strict=True)
    ]
    return {**dataset.details, "images": images, "annotations": annotations, "categories": categories}


def _annotation(
    image: ImageRecord, k: int, annotation_id: int, image_id: int, category_ids: Sequence[int]
) -> dict[str, Any]:
    x1, y1, x2, y2 = image.boxes[k].tolist()
    box = [round(value, DECIMALS) for value in (x1, y1, x2 - x1, y2 - y1)]
    facts = {key: value for key, value in image.attributes[k].items() if key != "crowd"}
    if not isinstance(facts.get("area"), (int, float)):
        facts["area"] = round(box[2] * box[3], DECIMALS)
    return {
        **facts,
        "id": annotation_id,
        "image_id": image_id,
        "category_id": category_ids[int(image.label_ids[k])],
        "bbox": box,
        "iscrowd": int(bool(image.attributes[k].get("crowd"))),
    }


def _ids(holders: Sequence[Mapping[str, Any]]) -> list[int]:
    found = [holder.get("id") for holder in holders]
    kept = [each for each in found if isinstance(each, int) and not isinstance(each, bool)]
    return kept if len(set(kept)) == len(holders) else list(range(1, len(holders) + 1))
