"""A detector's training run: augmented views, judged by mAP at IoU 0.5 on the held-out samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cvcore.train.augment import AugmentOptions
from cvcore.train.batches import ALONE, Batch, Shard, epoch_batches
from cvcore.train.epochs import START, EpochReport, ShareScore, Standing, only_worker, run_view_epochs
from cvcore.train.loop import HeldOut, evaluate
from cvcore.train.progress import Progress
from cvcore.train.samples import Dataset

DetectorReport = EpochReport[HeldOut]

AUGMENT = AugmentOptions()


@dataclass(frozen=True, slots=True)
class RunOptions:
    """A run's length and randomness.

    Attributes:
        epochs: of the whole run.
        batch_size: images of one worker in one step.
        seed: of order and augmentation.
        augment: how views differ from samples; None shows them as they are. The last `plain_epochs` do
            without mosaic and go half as far (`AugmentOptions.calmer`).
        plain_epochs: see above.
        patience: epochs without a better score after which the run stops; None never stops early.
        sizes: canvases of which another one is chosen every ten steps; none keeps the model's own.
    """

    epochs: int
    batch_size: int
    seed: int = 0
    augment: AugmentOptions | None = AUGMENT
    plain_epochs: int = 3
    patience: int | None = None
    sizes: tuple[int, ...] = ()


def detector_epochs(
    progress: Progress[Any, Batch],
    train: Dataset,
    held_out: Dataset,
    options: RunOptions,
    *,
    first_epoch: int = 0,
    standing: Standing = START,
    shard: Shard = ALONE,
    share: ShareScore = only_worker,
) -> Iterator[DetectorReport]:
    """`run_view_epochs` of a detector."""

    def views(epoch: int) -> Iterator[Batch]:
        return epoch_batches(
            train.samples,
            epoch=epoch,
            seed=options.seed,
            batch_size=options.batch_size,
            options=augment_at(epoch, options),
            sizes=options.sizes,
            shard=shard,
        )

    def measure() -> tuple[float, HeldOut]:
        found = evaluate(progress.average.model, held_out)
        return found.score, found

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


def augment_at(epoch: int, options: RunOptions) -> AugmentOptions | None:
    """How views of an epoch differ from samples: half as far in the last ones."""
    full = options.augment
    if full is None or epoch < options.epochs - options.plain_epochs:
        return full
    return full.calmer()
