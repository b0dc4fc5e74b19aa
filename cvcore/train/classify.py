"""A classifier's training run: random crops, judged by accuracy on held-out pictures as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cvcore.classify.base import Classifier
from cvcore.classify.localizer import Localizer, in_canvas
from cvcore.metrics.classification import TOP, ClassificationMetrics, classification_metrics
from cvcore.ops.boxes import paired_iou
from cvcore.train.batches import ALONE, Shard, steps_per_epoch
from cvcore.train.crops import CropOptions, random_view
from cvcore.train.epochs import START, EpochReport, ShareScore, Standing, only_worker, run_view_epochs
from cvcore.train.pictures import PictureSet
from cvcore.train.progress import Progress, Terms

ClassifierReport = EpochReport[ClassificationMetrics]
LabelModel = Classifier | Localizer


@dataclass(frozen=True, slots=True)
class PictureBatch:
    """What one step learns from.

    Attributes:
        canvases: (B, H, W, 3) uint8.
        label_ids: (B,) int64.
        boxes: (B, 4) float32 xyxy, shares of the canvas; None without boxes.
    """

    canvases: Tensor
    label_ids: Tensor
    boxes: Tensor | None


@dataclass(frozen=True, slots=True)
class ClassifierRunOptions:
    """A run's length and randomness.

    Attributes:
        epochs: of the whole run.
        batch_size: images of one worker in one step.
        crops: how views differ from pictures.
        seed: of order and views.
        patience: epochs without a better score after which the run stops; None never stops early.
    """

    epochs: int
    batch_size: int
    crops: CropOptions
    seed: int = 0
    patience: int | None = None


def view_batches(
    pictures: PictureSet, options: ClassifierRunOptions, *, epoch: int, shard: Shard = ALONE
) -> Iterator[PictureBatch]:
    """One epoch's batches for one worker, in an order and with views that (seed, epoch) decide."""
    order = np.random.default_rng([options.seed, epoch]).permutation(len(pictures))
    stride = options.batch_size * shard.world_size
    for step in range(steps_per_epoch(len(pictures), options.batch_size, shard.world_size)):
        first = step * stride + shard.rank * options.batch_size
        indices = order[first : first + options.batch_size].tolist()
        views = []
        for index, drawn in zip(indices, pictures.decode(indices), strict=True):
            rng = np.random.default_rng([options.seed, epoch, index])
            views.append(random_view(drawn.canvas, pictures.box_on(index, drawn), options.crops, rng))
        yield _collate(views, [pictures.pictures[index].label_id for index in indices])


def _collate(views: list[tuple[Tensor, Tensor | None]], label_ids: list[int]) -> PictureBatch:
    boxes = [box for _, box in views if box is not None]
    return PictureBatch(
        torch.stack([canvas for canvas, _ in views]),
        torch.tensor(label_ids, dtype=torch.int64),
        torch.cat(boxes) if boxes else None,
    )


def classifier_loss(
    model: LabelModel, network: nn.Module, *, bf16: bool = False
) -> Callable[[PictureBatch], Terms]:
    """What `Progress` computes for a classifier.

    Args:
        model: the bare model.
        network: a `ClassifierLoss` of it, or its distributed wrapper.
        bf16: run the forward pass in bfloat16 where the operator allows; weights stay float32.
    """

    def compute(batch: PictureBatch) -> Terms:
        device = next(model.parameters()).device
        boxes = None if batch.boxes is None else batch.boxes.to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            terms: Terms = network(batch.canvases.to(device), batch.label_ids.to(device), boxes)
        return terms

    return compute


def classifier_epochs(
    progress: Progress[Any, PictureBatch],
    train: PictureSet,
    held_out: PictureSet,
    options: ClassifierRunOptions,
    *,
    first_epoch: int = 0,
    standing: Standing = START,
    shard: Shard = ALONE,
    share: ShareScore = only_worker,
) -> Iterator[ClassifierReport]:
    """`run_view_epochs` of a classifier."""

    def views(epoch: int) -> Iterator[PictureBatch]:
        return view_batches(train, options, epoch=epoch, shard=shard)

    def measure() -> tuple[float, ClassificationMetrics]:
        metrics = measure_pictures(progress.average.model, held_out)
        return metrics.score, metrics

    return run_view_epochs(
        progress,
        views,
        measure,
        epochs=options.epochs,
        patience=options.patience,
        seed=options.seed,
        first_epoch=first_epoch,
        standing=standing,
        shard=shard,
        share=share,
    )


def measure_pictures(
    model: LabelModel, pictures: PictureSet, *, batch_size: int = 16
) -> ClassificationMetrics:
    """Metrics of `model`, which must be in eval mode, on pictures decoded to its canvas."""
    tally = Tally(model.labels)
    device = next(model.parameters()).device
    for first in range(0, len(pictures), batch_size):
        indices = range(first, min(first + batch_size, len(pictures)))
        drawn = pictures.decode(indices)
        canvases = torch.stack([torch.from_numpy(each.canvas) for each in drawn]).to(device)
        places = [pictures.box_on(i, each) for i, each in zip(indices, drawn, strict=True)]
        boxes = [box for box in places if box is not None]
        with torch.inference_mode():
            raw = model(model.preprocess(canvases))
        truth = torch.tensor([pictures.pictures[i].label_id for i in indices])
        tally.add(raw, truth, torch.cat(boxes) if boxes else None, model)
    return tally.metrics()


class Tally:
    """Gathers what was said of images, batch by batch: a few numbers an image, however many classes."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._labels = labels
        self._ranked: list[Tensor] = []
        self._truth: list[Tensor] = []
        self._overlaps: list[Tensor] = []

    def add(self, raw: Any, truth: Tensor, boxes: Tensor | None, model: LabelModel) -> None:
        """Take in a batch: the model's raw outputs, (B,) label ids, and (B, 4) xyxy canvas pixels."""
        logits = raw[0] if isinstance(model, Localizer) else raw
        self._ranked.append(logits.float().topk(min(TOP, len(self._labels)), dim=1).indices.cpu())
        self._truth.append(truth)
        if isinstance(model, Localizer) and boxes is not None:
            spec = model.input_spec
            found = in_canvas(raw[1].float().cpu(), height=spec.height, width=spec.width)
            self._overlaps.append(paired_iou(found, boxes))

    def metrics(self) -> ClassificationMetrics:
        """Of all that was added; raises `ValueError` where that is nothing."""
        if not self._truth:
            raise ValueError("there are no images to measure on")
        return classification_metrics(
            torch.cat(self._ranked).numpy(),
            torch.cat(self._truth).numpy(),
            self._labels,
            overlaps=torch.cat(self._overlaps).double().numpy() if self._overlaps else None,
        )
