"""A dataset of boxes as canvases of one shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cvcore.datasets.coco import coco_document
from cvcore.datasets.records import BoxDataset, ImageRecord
from cvcore.errors import ImageError, SpecError
from cvcore.image.decode import decode_to_canvas
from cvcore.image.fit import Fit
from cvcore.ops.masks import Rle, decode_rle, encode_rle, segmentation_rle
from cvcore.train.drawn_masks import draw_mask
from cvcore.train.kept import NO_LIMIT, Read, read_all
from cvcore.types import InputSpec

ReadFile = Callable[[str], bytes]
"""Reads an image of the dataset by its name inside the dataset's folder."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image as the model reads it, with its ground truth.

    Attributes:
        image_id: in the dataset's COCO document.
        canvas: (H, W, 3) uint8 RGB.
        fit: where the image lies on the canvas.
        boxes: (N, 4) float32, xyxy, canvas pixels.
        label_ids: (N,) int64, indices into the model's labels.
        proposals: (P, 4) float32, xyxy, canvas pixels, best first; None where the model needs none.
        masks: an RLE for each box, of the canvas's size; None where the model does not learn from them.
    """

    image_id: int
    canvas: npt.NDArray[np.uint8]
    fit: Fit
    boxes: Tensor
    label_ids: Tensor
    proposals: Tensor | None = None
    masks: tuple[Rle, ...] | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset that is ready to be learned from.

    Attributes:
        samples: of the images that could be decoded; a `Kept` where they may be too many for memory.
        document: the COCO document that metrics read, of all images.
        category_ids: of each label.
        failures: how many images could not be used, by why.
    """

    samples: Sequence[Sample]
    document: dict[str, Any]
    category_ids: tuple[int, ...]
    failures: Mapping[str, int] = field(default_factory=dict)


def load_samples(
    dataset: BoxDataset,
    read_image: ReadFile,
    labels: Sequence[str],
    spec: InputSpec,
    *,
    masks: bool = False,
    max_cached_bytes: int = NO_LIMIT,
) -> Dataset:
    """All samples of a dataset, each read once; see `iter_samples`.

    Args:
        dataset, read_image, labels, spec, masks: see `iter_samples`.
        max_cached_bytes: of canvases that are kept; the others are read again whenever they are needed.
    """
    document = coco_document(dataset)
    reads = _sample_reads(dataset, document, read_image, labels, spec, masks=masks)
    found = read_all(reads, lambda sample: sample.canvas.nbytes, max_bytes=max_cached_bytes)
    return Dataset(found.kept, document, category_ids(document, labels), dict(found.failures))


def iter_samples(
    dataset: BoxDataset,
    document: Mapping[str, Any],
    read_image: ReadFile,
    labels: Sequence[str],
    spec: InputSpec,
    failures: Counter[str],
    *,
    masks: bool = False,
) -> Iterator[Sample]:
    """Read the images of a dataset one by one, fitted to `spec`'s canvas; what cannot be decoded is counted.

    Crowd regions are left out of the samples; they stay in the document.

    Args:
        dataset: of boxes.
        document: `coco_document` of it.
        read_image: reads an image by its name.
        labels: of the model.
        spec: the canvas.
        failures: counts, by why, the images that are left out.
        masks: whether objects' masks are read too; an image with an object that has none is left out.

    Raises:
        SpecError: if the dataset has labels that are none of `labels`.
    """
    for read in _sample_reads(dataset, document, read_image, labels, spec, masks=masks):
        try:
            sample = read()
        except ImageError as error:
            failures[error.code] += 1
            continue
        yield sample


def _sample_reads(
    dataset: BoxDataset,
    document: Mapping[str, Any],
    read_image: ReadFile,
    labels: Sequence[str],
    spec: InputSpec,
    *,
    masks: bool,
) -> list[Read[Sample]]:
    strangers = sorted(set(dataset.labels) - set(labels))
    if strangers:
        raise SpecError(
            f"the dataset has categories {strangers} that are none of the model's labels {list(labels)}"
        )
    own_ids = [labels.index(name) for name in dataset.labels]
    return [
        partial(_load, read_image, record, int(image["id"]), own_ids, spec, masks=masks)
        for record, image in zip(dataset.images, document["images"], strict=True)
    ]


def category_ids(document: Mapping[str, Any], labels: Sequence[str]) -> tuple[int, ...]:
    """The category of each label in a COCO document; -1, which none has, for a label that is not in it."""
    by_name = {str(category["name"]): int(category["id"]) for category in document["categories"]}
    return tuple(by_name.get(label, -1) for label in labels)


def _load(
    read_image: ReadFile,
    record: ImageRecord,
    image_id: int,
    own_ids: Sequence[int],
    spec: InputSpec,
    *,
    masks: bool,
) -> Sample:
    drawn = decode_to_canvas(read_image(record.name), spec, name=record.name)
    chosen = [k for k, facts in enumerate(record.attributes) if not facts.get("crowd")]
    boxes = torch.from_numpy(record.boxes[chosen]).float()
    label_ids = torch.tensor([own_ids[k] for k in record.label_ids[chosen].tolist()], dtype=torch.int64)
    drawn_masks = None
    if masks:
        facts = [record.attributes[k] for k in chosen]
        drawn_masks = tuple(_canvas_mask(each, drawn.fit, spec, record.name) for each in facts)
    return Sample(image_id, drawn.canvas, drawn.fit, drawn.fit.to_canvas(boxes), label_ids, masks=drawn_masks)


def _canvas_mask(facts: Mapping[str, Any], fit: Fit, spec: InputSpec, name: str) -> Rle:
    size = {"height": fit.source_height, "width": fit.source_width}
    try:
        mask = decode_rle(segmentation_rle(facts.get("segmentation") or (), **size), **size)
    except ValueError as error:
        raise ImageError("mask", f"{name}: {error}") from error
    drawn = draw_mask(mask.astype(np.uint8), fit, spec, outside=0)
    return encode_rle(drawn[None] > 0)[0]
