"""Measuring a segmenter on a split of a dataset of masks, in this process: how well, and how fast."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from cvcore.datasets.mask_files import Mask
from cvcore.datasets.masks import MaskDataset
from cvcore.errors import ImageError, SpecError
from cvcore.image.decode import CanvasImage, decode_to_canvas
from cvcore.metrics.segmentation import SegmentationMetrics, SegmentationScores
from cvcore.segment.base import Segmenter
from jobs.evaluate_model import EVERYTHING
from jobs.masks import MaskSource, open_masks
from jobs.storage import Access
from jobs.worst_maps import WorstMaps

BATCH = 4
MIN_TIMED = 3


@dataclass(frozen=True)
class SegmenterEvaluation:
    """What was found of a segmenter.

    Attributes:
        metrics: of the images that could be used, at their own sizes.
        counts: pixels by their true class, and by the one that was found.
        labels: of the metrics' classes.
        num_images: of the split.
        num_failed: of them, those that could not be decoded, or whose masks cannot be used.
        num_parameters: of the model.
        images_per_s: from canvases in memory to maps of the images' sizes, in batches of `BATCH`.
        latency_p50_s, latency_p99_s: the same for one image at a time.
        device: where it ran.
    """

    metrics: SegmentationMetrics
    counts: tuple[tuple[int, ...], ...]
    labels: tuple[str, ...]
    num_images: int
    num_failed: int
    num_parameters: int
    images_per_s: float
    latency_p50_s: float
    latency_p99_s: float
    device: str


def evaluate_segmenter(
    model: Segmenter, data: str, split: str, *, access: Access, worst: WorstMaps | None = None
) -> SegmenterEvaluation:
    """Run a model, on its device and in eval mode, over a split's images, a batch in memory at a time.

    Args:
        model: looks at whole images, as `veedor annotate` without tiles does.
        data: a dataset with masks, see `jobs.masks.open_masks`.
        split: of it; `all` for everything.
        access: to storage.
        worst: is told of every image.

    Raises:
        SpecError: for what is no such dataset, classes that are not the model's, or no image to be used.
    """
    source = open_masks(data, access)
    dataset = source.read(None if split == EVERYTHING else split)
    if dataset.labels != model.labels:
        raise SpecError(f"{data} has the classes {dataset.labels}, the model {model.labels}")
    device = next(model.parameters()).device
    scores, num_used = SegmentationScores(len(model.labels)), 0
    batches: list[float] = []
    singles: list[float] = []
    pairs = _pairs(model, source, dataset)
    while few := list(islice(pairs, BATCH)):
        drawn = [each for _, each, _ in few]
        seconds, maps = _timed(model, drawn, device)
        for (name, _, truth), found in zip(few, maps, strict=True):
            ids = found.cpu().numpy()
            counts = scores.add(truth, ids)
            if worst is not None:
                worst.add(name, truth, ids, counts)
        num_used += len(few)
        batches.append(len(few) / seconds)
        singles.append(_timed(model, drawn[:1], device)[0])
    if not num_used:
        raise SpecError(f"no image of {data}, {split}, can be used: veedor dataset check --masks says why")
    settled = slice(1, None) if len(singles) > MIN_TIMED else slice(None)  # the first one warms up
    return SegmenterEvaluation(
        metrics=scores.result(),
        counts=tuple(map(tuple, scores.counts.tolist())),
        labels=model.labels,
        num_images=len(dataset.images),
        num_failed=len(dataset.images) - num_used,
        num_parameters=sum(p.numel() for p in model.parameters()),
        images_per_s=float(np.median(batches[settled])),
        latency_p50_s=float(np.percentile(singles[settled], 50)),
        latency_p99_s=float(np.percentile(singles[settled], 99)),
        device=str(device),
    )


def _pairs(
    model: Segmenter, source: MaskSource, dataset: MaskDataset
) -> Iterator[tuple[str, CanvasImage, Mask]]:
    """Names, images on the model's canvas, and masks in their own size; what cannot be used is left out."""
    loader = source.loader(dataset)
    for record in dataset.images:
        try:
            drawn = decode_to_canvas(source.files.read(record.name), model.input_spec, name=record.name)
        except ImageError:
            continue
        truth = loader.load(record, height=drawn.fit.source_height, width=drawn.fit.source_width)
        if truth is not None:
            yield record.name, drawn, truth


def _timed(model: Segmenter, drawn: list[CanvasImage], device: torch.device) -> tuple[float, list[Tensor]]:
    canvases = torch.from_numpy(np.stack([each.canvas for each in drawn])).to(device)
    began = time.perf_counter()
    maps = model.predict(canvases, [each.fit for each in drawn])
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began, maps
