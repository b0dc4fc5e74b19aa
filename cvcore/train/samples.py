"""A COCO dataset as fixed-shape canvases in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cvcore.errors import SpecError
from cvcore.image.decode import decode_to_canvas
from cvcore.image.fit import Fit
from cvcore.types import InputSpec

ANNOTATIONS_NAME = "annotations.json"
IMAGES_FOLDER = "images"

ReadFile = Callable[[str], bytes]
"""Reads a file of the dataset by its name inside the dataset's folder."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image as the model reads it, with its ground truth.

    Attributes:
        image_id: of the COCO document.
        canvas: (H, W, 3) uint8 RGB.
        fit: where the image lies on the canvas.
        boxes: (N, 4) float32, xyxy, canvas pixels.
        label_ids: (N,) int64, indices into the model's labels.
        proposals: (P, 4) float32, xyxy, canvas pixels, best first; None where the model needs none.
    """

    image_id: int
    canvas: npt.NDArray[np.uint8]
    fit: Fit
    boxes: Tensor
    label_ids: Tensor
    proposals: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """Samples, the COCO document that they came from, and the category id of each label."""

    samples: tuple[Sample, ...]
    document: dict[str, Any]
    category_ids: tuple[int, ...]


def read_document(read: ReadFile) -> dict[str, Any]:
    """Read and check `annotations.json`.

    Raises:
        SpecError: if it is not a COCO instances document.
    """
    try:
        document = json.loads(read(ANNOTATIONS_NAME))
    except ValueError as error:
        raise SpecError(f"{ANNOTATIONS_NAME} is not JSON: {error}") from error
    missing = [k for k in ("images", "annotations", "categories") if not isinstance(document.get(k), list)]
    if missing:
        raise SpecError(
            f"{ANNOTATIONS_NAME} is not a COCO instances document: it has no list {', '.join(missing)}; "
            "write 'images', 'annotations' and 'categories'"
        )
    return dict(document)


def document_labels(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Category names in the order of their ids."""
    return tuple(str(c["name"]) for c in sorted(document["categories"], key=lambda c: int(c["id"])))


def load_dataset(read: ReadFile, labels: Sequence[str], spec: InputSpec) -> Dataset:
    """Read `annotations.json` and every image it names, fitted to `spec`'s canvas.

    Crowd regions and boxes without area are left out of the samples; they stay in the document.

    Raises:
        SpecError: if the document is malformed or its categories are not `labels`.
        ImageError: for an image that cannot be decoded.
    """
    document = read_document(read)
    index = {name: k for k, name in enumerate(labels)}
    categories = {int(c["id"]): str(c["name"]) for c in document["categories"]}
    strangers = sorted(set(categories.values()) - set(index))
    if strangers:
        raise SpecError(
            f"the dataset has categories {strangers} that are none of the model's labels {list(labels)}"
        )
    by_image: dict[int, list[tuple[list[float], int]]] = {}
    for annotation in document["annotations"]:
        x, y, w, h = annotation["bbox"]
        if not annotation.get("iscrowd", 0) and w > 0 and h > 0:
            label_id = index[categories[int(annotation["category_id"])]]
            by_image.setdefault(int(annotation["image_id"]), []).append(([x, y, x + w, y + h], label_id))
    samples = [_load(read, image, by_image.get(int(image["id"]), []), spec) for image in document["images"]]
    by_name = {name: category for category, name in categories.items()}
    return Dataset(tuple(samples), document, tuple(by_name.get(label, 0) for label in labels))


def _load(
    read: ReadFile, image: Mapping[str, Any], objects: Sequence[tuple[list[float], int]], spec: InputSpec
) -> Sample:
    name = str(image["file_name"])
    drawn = decode_to_canvas(read(f"{IMAGES_FOLDER}/{name}"), spec, name=name)
    boxes = torch.tensor([box for box, _ in objects], dtype=torch.float32).reshape(-1, 4)
    label_ids = torch.tensor([label_id for _, label_id in objects], dtype=torch.int64)
    return Sample(int(image["id"]), drawn.canvas, drawn.fit, drawn.fit.to_canvas(boxes), label_ids)
