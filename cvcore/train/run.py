"""A whole training run as a sequence of epochs: whoever consumes it logs, stores and stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from cvcore.metrics.detection import DetectionMetrics
from cvcore.train.augment import AugmentOptions
from cvcore.train.batches import ALONE, Batch, Shard, ahead, epoch_batches
from cvcore.train.loop import EpochLoss, evaluate
from cvcore.train.progress import Progress
from cvcore.train.samples import Dataset

ShareScore = Callable[[float | None], float]
"""Gives every worker the score that the first one measured; the others pass None."""

AUGMENT = AugmentOptions()


@dataclass(frozen=True, slots=True)
class RunOptions:
    """A run's length and randomness.

    Attributes:
        epochs: of the whole run.
        batch_size: images of one worker in one step.
        seed: of order and augmentation.
        augment: how views differ from samples; None shows them as they are. The last `plain_epochs` zoom and
            recolour half as far, so that the run ends on pictures like those it will meet.
        plain_epochs: see above.
        patience: epochs without a better score after which the run stops; None never stops early.
    """

    epochs: int
    batch_size: int
    seed: int = 0
    augment: AugmentOptions | None = AUGMENT
    plain_epochs: int = 3
    patience: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """The best epoch so far, by mAP at IoU 0.5 on the held-out samples."""

    best_epoch: int = -1
    best_ap50: float = -1.0


START = Standing()


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What one epoch brought.

    Attributes:
        epoch: from 0.
        loss: means over this worker's steps.
        metrics: of the averaged weights on the held-out samples; on the first worker alone.
        standing: with this epoch counted; `is_best` says whether it is the best.
    """

    epoch: int
    loss: EpochLoss
    metrics: DetectionMetrics | None
    standing: Standing

    @property
    def is_best(self) -> bool:
        return self.standing.best_epoch == self.epoch


def only_worker(score: float | None) -> float:
    """`ShareScore` of a run with one worker."""
    assert score is not None
    return score


def run_epochs(
    progress: Progress[Any, Batch],
    train: Dataset,
    held_out: Dataset,
    options: RunOptions,
    *,
    first_epoch: int = 0,
    standing: Standing = START,
    shard: Shard = ALONE,
    share: ShareScore = only_worker,
) -> Iterator[EpochReport]:
    """Train from `first_epoch` to the end, or until patience runs out; yields after each epoch.

    A run that is continued from a checkpoint makes the same steps as one that was never interrupted: pass the
    epoch after the checkpoint's and its standing.
    """
    for epoch in range(first_epoch, options.epochs):
        batches = epoch_batches(
            train.samples,
            epoch=epoch,
            seed=options.seed,
            batch_size=options.batch_size,
            options=_augment_at(epoch, options),
            shard=shard,
        )
        loss = EpochLoss(**progress.train_epoch(ahead(batches)))
        metrics = evaluate(progress.average.model, held_out) if shard.rank == 0 else None
        score = share(None if metrics is None else metrics.ap50)
        if score > standing.best_ap50:
            standing = Standing(epoch, score)
        yield EpochReport(epoch, loss, metrics, standing)
        if options.patience is not None and epoch - standing.best_epoch >= options.patience:
            return


def _augment_at(epoch: int, options: RunOptions) -> AugmentOptions | None:
    full = options.augment
    if full is None or epoch < options.epochs - options.plain_epochs:
        return full
    return replace(full, min_zoom=full.min_zoom**0.5, max_zoom=full.max_zoom**0.5, color=full.color / 2)
