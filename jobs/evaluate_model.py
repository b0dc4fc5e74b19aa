"""Measuring a detector on a split of a dataset, in this process: how well it finds, and how fast."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from cvcore.classify.base import Classifier
from cvcore.datasets.coco import coco_document
from cvcore.datasets.records import BoxDataset
from cvcore.detect.base import Detector
from cvcore.detect.cost import ModelCost, measure_cost
from cvcore.errors import ModelError, SpecError
from cvcore.metrics.detection_quality import DetectionQuality, assess_detections
from cvcore.models import build_model
from cvcore.segment.base import Segmenter
from cvcore.train.loop import EVALUATION, coco_results
from cvcore.train.samples import Sample, category_ids, iter_samples
from cvcore.types import DetectOptions, InputSpec
from jobs.datasets import DatasetSource, open_dataset
from jobs.model_files import fetch_model
from jobs.model_speed import BATCH_SIZES, DEFAULT_BUDGET_S, ModelSpeed, measure_speed, most_images
from jobs.spec import ModelSection
from jobs.storage import Access

BATCH = 16
EVERYTHING = "all"
"""The split that is all of a dataset."""
MIN_SCORE = DetectOptions().min_score


@dataclass(frozen=True, eq=False)
class DetectionSplit:
    """What detectors are measured on.

    Attributes:
        data, split: as they were named.
        source: reads images.
        dataset: of boxes, at least one.
        document: COCO's, of the dataset.
    """

    data: str
    split: str
    source: DatasetSource
    dataset: BoxDataset
    document: dict[str, Any]


@dataclass(frozen=True)
class ModelEvaluation:
    """What was found of a detector.

    Attributes:
        model: as it was named.
        data, split: what it was measured on.
        input_spec: the canvas that it reads.
        quality: how well it finds.
        num_images: of the split.
        num_failed: of them, those that could not be decoded; they count as looked at in vain.
        cost: its size.
        speed: None where it was not measured.
        options: which detections were compared.
    """

    model: str
    data: str
    split: str
    input_spec: InputSpec
    quality: DetectionQuality
    num_images: int
    num_failed: int
    cost: ModelCost
    speed: ModelSpeed | None
    options: DetectOptions = EVALUATION


def evaluate_model(
    section: ModelSection,
    data: str,
    *,
    split: str,
    access: Access,
    min_score: float = MIN_SCORE,
    speed_budget_s: float = DEFAULT_BUDGET_S,
) -> ModelEvaluation:
    """`open_split` and `evaluate_detector` in one call."""
    detector = load_detector(section, access)
    opened = open_split(data, split, access)
    return evaluate_detector(
        detector, opened, name=section.name, min_score=min_score, speed_budget_s=speed_budget_s
    )


def load_detector(section: ModelSection, access: Access) -> Detector:
    """`load_measurable`, of a detector alone.

    Raises:
        ModelError: for what is none, or cannot be loaded.
    """
    model = load_measurable(section, access)
    if not isinstance(model, Detector):
        raise ModelError(f"{section.name} is no detector, and only detectors are measured here")
    return model


def load_measurable(section: ModelSection, access: Access) -> Detector | Classifier | Segmenter:
    """A model that is measured on a dataset, in evaluation mode, on the GPU where there is one.

    Raises:
        ModelError: for another kind of model, or one that cannot be loaded.
    """
    model = build_model(fetch_model(section, access).source)
    if not isinstance(model, Detector | Classifier | Segmenter):
        raise ModelError(
            f"{section.name} is no detector, classifier or segmenter: no others are measured on a dataset"
        )
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def read_split(data: str, split: str, access: Access) -> tuple[DatasetSource, BoxDataset]:
    """A split of a dataset, or all of it; images are read later.

    Raises:
        SpecError: for what is no dataset.
    """
    source = open_dataset(data, access)
    return source, source.read(None if split == EVERYTHING else split, look="names")


def open_split(data: str, split: str, access: Access) -> DetectionSplit:
    """`read_split`, of boxes.

    Raises:
        SpecError: for what is no dataset, or has no boxes.
    """
    source, dataset = read_split(data, split, access)
    if dataset.task != "boxes" or not dataset.num_boxes:
        raise SpecError(f"{data}, {split}, has no boxes to compare with")
    return DetectionSplit(data, split, source, dataset, coco_document(dataset))


def evaluate_detector(
    model: Detector,
    on: DetectionSplit,
    *,
    name: str,
    min_score: float = MIN_SCORE,
    speed_budget_s: float = DEFAULT_BUDGET_S,
) -> ModelEvaluation:
    """Run a detector over a split's images, a batch in memory at a time, and time it.

    Args:
        model: in evaluation mode, where it is to run.
        on: what to measure on.
        name: of the model.
        min_score: of what counts as found in confusions and errors.
        speed_budget_s: about how long to time it, seconds; 0 does not.

    Raises:
        SpecError: for classes that the model does not know, or a split none of whose images can be decoded.
    """
    failures: Counter[str] = Counter()
    kept: list[Sample] = []
    results: list[dict[str, Any]] = []
    for batch in _batches(model, on, failures):
        kept += batch[: max(BATCH_SIZES) - len(kept)]
        results += _detect(model, batch, on)
    if not kept:
        raise SpecError(
            f"no image of {on.data}, {on.split}, can be decoded: veedor dataset check --images says why"
        )
    device = next(model.parameters()).device
    return ModelEvaluation(
        model=name,
        data=on.data,
        split=on.split,
        input_spec=model.input_spec,
        quality=assess_detections(on.document, results, min_score=min_score),
        num_images=len(on.dataset.images),
        num_failed=failures.total(),
        cost=measure_cost(model, torch.from_numpy(kept[0].canvas).to(device), kept[0].fit),
        speed=measure_speed(model, kept, budget_s=speed_budget_s) if speed_budget_s > 0 else None,
    )


def _batches(model: Detector, on: DetectionSplit, failures: Counter[str]) -> Iterator[list[Sample]]:
    spec = model.input_spec
    samples = iter_samples(on.dataset, on.document, on.source.read_image, model.labels, spec, failures)
    while batch := list(islice(samples, min(BATCH, most_images(spec)))):
        yield batch


def _detect(model: Detector, batch: list[Sample], on: DetectionSplit) -> list[dict[str, Any]]:
    device = next(model.parameters()).device
    canvases = torch.stack([torch.from_numpy(sample.canvas) for sample in batch]).to(device)
    found = model.predict(canvases, [sample.fit for sample in batch], EVALUATION)
    categories = category_ids(on.document, model.labels)
    results: list[dict[str, Any]] = []
    for sample, own in zip(batch, found, strict=True):
        results += coco_results(sample.image_id, own, category_ids=categories)
    return results
