"""Measuring a detector on a split of a dataset, in this process: how well it finds, and how fast."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from cvcore.classify.base import Classifier
from cvcore.classify.localizer import Localizer
from cvcore.datasets.coco import coco_document
from cvcore.detect.base import Detector
from cvcore.errors import ModelError, SpecError
from cvcore.metrics.detection import DetectionMetrics, evaluate_detections
from cvcore.models import build_model
from cvcore.train.loop import EVALUATION, coco_results
from cvcore.train.samples import Sample, category_ids, iter_samples
from cvcore.types import Detections
from jobs.datasets import open_dataset
from jobs.evaluate_classifier import ClassifierEvaluation, evaluate_classifier
from jobs.model_files import fetch_model
from jobs.spec import ModelSection
from jobs.storage import Access

BATCH = 16
MIN_TIMED = 3
EVERYTHING = "all"
"""The split that is all of a dataset."""


@dataclass(frozen=True)
class ModelEvaluation:
    """What was found of a detector.

    Attributes:
        metrics: COCO's.
        num_images: of the split.
        num_failed: of them, those that could not be decoded; they count as looked at in vain.
        num_parameters: of the model.
        images_per_s: of network, decoding and suppression on canvases in memory, in batches of 16.
        latency_p50_s, latency_p99_s: the same for one image at a time.
        device: where it ran.
    """

    metrics: DetectionMetrics
    num_images: int
    num_failed: int
    num_parameters: int
    images_per_s: float
    latency_p50_s: float
    latency_p99_s: float
    device: str


def evaluate_model(
    section: ModelSection, data: str, *, split: str, access: Access
) -> ModelEvaluation | ClassifierEvaluation:
    """Run a detector, classifier or localiser over a split's images, a batch in memory at a time.

    Raises:
        ModelError: for what is none of them.
        SpecError: for a dataset of another kind, or one that has classes that the model does not know.
    """
    model = build_model(fetch_model(section, access).source)
    if not isinstance(model, Detector | Classifier):
        raise ModelError(
            f"{section.name} is neither a detector nor a classifier: no others are measured on a dataset"
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    source = open_dataset(data, access)
    dataset = source.read(None if split == EVERYTHING else split, look="names")
    if isinstance(model, Classifier | Localizer):
        return evaluate_classifier(model, source, dataset, name=f"{data}, {split}")
    if dataset.task != "boxes" or not dataset.num_boxes:
        raise SpecError(f"{data}, {split}, has no boxes to compare with")
    document = coco_document(dataset)
    categories = category_ids(document, model.labels)
    failures: Counter[str] = Counter()
    samples = iter_samples(dataset, document, source.read_image, model.labels, model.input_spec, failures)
    results: list[dict[str, Any]] = []
    batches: list[float] = []
    singles: list[float] = []
    while batch := list(islice(samples, BATCH)):
        seconds, found = _timed(model, batch, device)
        batches.append(len(batch) / seconds)
        singles.append(_timed(model, batch[:1], device)[0])
        for sample, own in zip(batch, found, strict=True):
            boxes, scores, label_ids = own.boxes, own.scores, own.label_ids
            results += coco_results(sample.image_id, boxes, scores, label_ids, category_ids=categories)
    if not singles:
        raise SpecError(
            f"no image of {data}, {split}, can be decoded: veedor dataset check --images says why"
        )
    settled = slice(1, None) if len(singles) > MIN_TIMED else slice(None)  # the first one warms up
    return ModelEvaluation(
        metrics=evaluate_detections(document, results),
        num_images=len(dataset.images),
        num_failed=failures.total(),
        num_parameters=sum(p.numel() for p in model.parameters()),
        images_per_s=float(np.median(batches[settled])),
        latency_p50_s=float(np.percentile(singles[settled], 50)),
        latency_p99_s=float(np.percentile(singles[settled], 99)),
        device=str(device),
    )


def _timed(
    model: Detector, samples: Sequence[Sample], device: torch.device
) -> tuple[float, list[Detections]]:
    canvases = torch.stack([torch.from_numpy(sample.canvas) for sample in samples]).to(device)
    began = time.perf_counter()
    found = model.predict(canvases, [sample.fit for sample in samples], EVALUATION)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began, found
