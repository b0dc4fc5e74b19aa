"""A training run as a sequence of epochs, whatever it trains: whoever consumes it logs, stores and stops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from cvcore.train.batches import ALONE, Shard, ahead
from cvcore.train.progress import Progress

B = TypeVar("B")
F = TypeVar("F")

ShareScore = Callable[[float | None], float]
"""Gives every worker the score that the first one measured; the others pass None."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The best epoch so far, by a score that is better the higher it is."""

    best_epoch: int = -1
    best_score: float = float("-inf")


START = Standing()


@dataclass(frozen=True, slots=True)
class EpochReport(Generic[F]):
    """What one epoch brought.

    Attributes:
        epoch: from 0.
        terms: means of the loss's terms over this worker's steps.
        found: what was measured with the averaged weights on held-out samples; None on workers that do not.
        standing: with this epoch counted; `is_best` says whether it is the best.
    """

    epoch: int
    terms: dict[str, float]
    found: F | None
    standing: Standing

    @property
    def is_best(self) -> bool:
        return self.standing.best_epoch == self.epoch


def only_worker(score: float | None) -> float:
    """`ShareScore` of a run with one worker."""
    assert score is not None
    return score


def run_epochs(
    progress: Progress[Any, B],
    batches: Callable[[int], Iterable[B]],
    measure: Callable[[], tuple[float, F]] | None,
    *,
    epochs: int,
    patience: int | None = None,
    first_epoch: int = 0,
    standing: Standing = START,
    share: ShareScore = only_worker,
) -> Iterator[EpochReport[F]]:
    """Train from `first_epoch` to the end, or until patience runs out; yields after each epoch.

    A run that is continued from a checkpoint makes the same steps as one that was never interrupted: pass the
    epoch after the checkpoint's and its standing.

    Args:
        progress: the run.
        batches: of an epoch, by its number.
        measure: the score of the averaged weights, and what else to report; None on all workers but one.
        epochs: of the whole run.
        patience: epochs without a better score after which the run stops; None never.
        first_epoch, standing: where a run that was cut off continues.
        share: see `ShareScore`.
    """
    for epoch in range(first_epoch, epochs):
        terms = progress.train_epoch(batches(epoch))
        score, found = measure() if measure is not None else (None, None)
        score = share(score)
        if score > standing.best_score:
            standing = Standing(epoch, score)
        yield EpochReport(epoch, terms, found, standing)
        if patience is not None and epoch - standing.best_epoch >= patience:
            return


def run_view_epochs(
    progress: Progress[Any, B],
    views: Callable[[int], Iterator[B]],
    measure: Callable[[], tuple[float, F]],
    *,
    epochs: int,
    patience: int | None,
    seed: int,
    first_epoch: int = 0,
    standing: Standing = START,
    shard: Shard = ALONE,
    share: ShareScore = only_worker,
) -> Iterator[EpochReport[F]]:
    """`run_epochs` of batches that a thread makes ahead; only the first worker measures.

    What the model draws (dropout, sampled regions) is decided by (seed, epoch, worker), cut off or not; what
    `views` draws is its own matter.
    """

    def batches(epoch: int) -> Iterator[B]:
        torch.manual_seed(int(np.random.SeedSequence([seed, epoch, shard.rank]).generate_state(1)[0]))
        return ahead(views(epoch))

    return run_epochs(
        progress,
        batches,
        measure if shard.rank == 0 else None,
        epochs=epochs,
        patience=patience,
        first_epoch=first_epoch,
        standing=standing,
        share=share,
    )
