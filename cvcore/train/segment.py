"""A segmenter's training run: augmented views, judged by mean IoU on the held-out samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cvcore.metrics.segmentation import SegmentationMetrics, SegmentationScores
from cvcore.segment.base import Segmenter
from cvcore.train.batches import ALONE, Shard
from cvcore.train.epochs import START, EpochReport, ShareScore, Standing, only_worker, run_view_epochs
from cvcore.train.masks import MaskBatch, MaskSamples, mask_batches
from cvcore.train.progress import Progress, Terms
from cvcore.train.run import RunOptions, augment_at

SegmenterReport = EpochReport[SegmentationMetrics]


class SegmenterLoss(nn.Module):
    """A segmenter's losses as a module's forward pass, which is what a distributed wrapper can wrap."""

    def __init__(self, model: Segmenter) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: MaskBatch) -> dict[str, Tensor]:
        """See `Segmenter.losses`."""
        device = next(self.model.parameters()).device
        images = self.model.preprocess(batch.canvases.to(device))
        return self.model.losses(images, batch.masks.to(device))


def segmenter_loss(
    model: Segmenter, network: nn.Module, *, bf16: bool = False
) -> Callable[[MaskBatch], Terms]:
    """What `Progress` computes for a segmenter; see `cvcore.train.loop.detector_loss`."""

    def compute(batch: MaskBatch) -> Terms:
        device = next(model.parameters()).device
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            terms: Terms = network(batch)
        return terms

    return compute


def evaluate_segmenter(model: Segmenter, samples: MaskSamples, *, batch_size: int = 4) -> SegmentationMetrics:
    """Metrics of `model`, which must be in eval mode, at the images' own sizes."""
    device = next(model.parameters()).device
    scores = SegmentationScores(len(model.labels))
    for first in range(0, len(samples.samples), batch_size):
        some = samples.samples[first : first + batch_size]
        canvases = torch.from_numpy(np.stack([each.canvas for each in some])).to(device)
        maps = model.predict(canvases, [each.fit for each in some])
        for each, found in zip(some, maps, strict=True):
            scores.add(each.truth, found.cpu().numpy())
    return scores.result()


def segmenter_epochs(
    progress: Progress[Any, MaskBatch],
    train: MaskSamples,
    held_out: MaskSamples,
    options: RunOptions,
    *,
    first_epoch: int = 0,
    standing: Standing = START,
    shard: Shard = ALONE,
    share: ShareScore = only_worker,
) -> Iterator[SegmenterReport]:
    """`run_view_epochs` of a segmenter. `options.sizes` does not apply."""

    def views(epoch: int) -> Iterator[MaskBatch]:
        return mask_batches(
            train.samples,
            epoch=epoch,
            seed=options.seed,
            batch_size=options.batch_size,
            options=augment_at(epoch, options),
            shard=shard,
        )

    def measure() -> tuple[float, SegmentationMetrics]:
        metrics = evaluate_segmenter(progress.average.model, held_out)
        # Held-out masks in which nothing is judged make every epoch as good as any other.
        return 0.0 if math.isnan(metrics.mean_iou) else metrics.mean_iou, metrics

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
