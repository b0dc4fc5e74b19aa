"""Measuring a classifier or localiser on a split of a dataset, in this process: how well, and how fast."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cvcore.classify.base import Classifier
from cvcore.classify.localizer import Localizer
from cvcore.datasets.records import BoxDataset
from cvcore.errors import ImageError, SpecError
from cvcore.image.decode import CanvasImage, decode_to_canvas
from cvcore.metrics.classification import ClassificationMetrics
from cvcore.train.classify import LabelModel, Tally
from cvcore.train.pictures import Picture
from jobs.datasets import DatasetSource
from jobs.labelled import Labelled, WhichBox, labelled_pictures

BATCH = 16
MIN_TIMED = 3


@dataclass(frozen=True)
class ClassifierEvaluation:
    """What was found of a classifier or localiser.

    Attributes:
        metrics: of the images that could be decoded.
        num_images: of the split.
        num_failed: of them, those that could not be decoded.
        left_out: of them, those that do not have one box, counted by why; of localisers.
        num_parameters: of the model.
        images_per_s: of the network on canvases in memory, in batches of 16.
        latency_p50_s, latency_p99_s: the same for one image at a time.
        device: where it ran.
    """

    metrics: ClassificationMetrics
    num_images: int
    num_failed: int
    left_out: dict[str, int]
    num_parameters: int
    images_per_s: float
    latency_p50_s: float
    latency_p99_s: float
    device: str


def evaluate_classifier(
    model: LabelModel, source: DatasetSource, dataset: BoxDataset, *, name: str, boxes: WhichBox = "single"
) -> ClassifierEvaluation:
    """Run a model, on its device and in eval mode, over a split's images, a batch in memory at a time.

    Args:
        model: a classifier, or a localiser, which is measured by its boxes too.
        source: reads images.
        dataset: the split: of classes for a classifier, of boxes for a localiser.
        name: what messages call it.
        boxes: see `jobs.labelled.labelled_pictures`.

    Raises:
        SpecError: for the other kind of dataset, classes that the model does not know, or no image.
    """
    found = _pictures(model, dataset, name=name, boxes=boxes)
    device = next(model.parameters()).device
    tally, num_failed = Tally(model.labels), 0
    batches: list[float] = []
    singles: list[float] = []
    for first in range(0, len(found.pictures), BATCH):
        few = found.pictures[first : first + BATCH]
        drawn = [_decode(picture, source, model) for picture in few]
        good = [(picture, each) for picture, each in zip(few, drawn, strict=True) if each is not None]
        num_failed += len(few) - len(good)
        if not good:
            continue
        canvases = torch.from_numpy(np.stack([each.canvas for _, each in good])).to(device)
        seconds, raw = _timed(model, canvases)
        batches.append(len(good) / seconds)
        singles.append(_timed(model, canvases[:1])[0])
        truth = torch.tensor([picture.label_id for picture, _ in good])
        tally.add(raw, truth, _boxes(good), model)
    if not singles:
        raise SpecError(f"no image of {name} can be decoded: veedor dataset check --images says why")
    settled = slice(1, None) if len(singles) > MIN_TIMED else slice(None)  # the first one warms up
    return ClassifierEvaluation(
        metrics=tally.metrics(),
        num_images=len(dataset.images),
        num_failed=num_failed,
        left_out=dict(found.left_out),
        num_parameters=sum(p.numel() for p in model.parameters()),
        images_per_s=float(np.median(batches[settled])),
        latency_p50_s=float(np.percentile(singles[settled], 50)),
        latency_p99_s=float(np.percentile(singles[settled], 99)),
        device=str(device),
    )


def _pictures(model: LabelModel, dataset: BoxDataset, *, name: str, boxes: WhichBox) -> Labelled:
    strangers = sorted(set(dataset.labels) - set(model.labels))
    if strangers:
        known = list(model.labels[:10]) + ["..."] * (len(model.labels) > 10)
        raise SpecError(f"{name} has classes {strangers[:10]} that are none of the model's labels {known}")
    own_ids = [model.labels.index(label) for label in dataset.labels]
    localizes = isinstance(model, Localizer)
    return labelled_pictures(dataset, own_ids, name=name, localizes=localizes, boxes=boxes)


def _decode(picture: Picture, source: DatasetSource, model: LabelModel) -> CanvasImage | None:
    try:
        return decode_to_canvas(source.read_image(picture.name), model.input_spec, name=picture.name)
    except ImageError:
        return None


def _boxes(pairs: Sequence[tuple[Picture, CanvasImage]]) -> torch.Tensor | None:
    """True boxes on the canvas, (B, 4) xyxy; None of classifiers' datasets."""
    found = [each.fit.to_canvas(torch.tensor([p.box])) for p, each in pairs if p.box is not None]
    return torch.cat(found) if found else None


def _timed(model: Classifier | Localizer, canvases: torch.Tensor) -> tuple[float, Any]:
    began = time.perf_counter()
    with torch.inference_mode():
        raw = model(model.preprocess(canvases))
    if canvases.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began, raw
