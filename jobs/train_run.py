"""What the worker needs of a training run, whatever it trains."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from cvcore.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from cvcore.train.batches import Shard, steps_per_epoch
from cvcore.train.epochs import EpochReport, ShareScore, Standing
from cvcore.train.progress import GRAD_CLIP, WEIGHT_DECAY, OptimizeOptions, Progress, Terms
from jobs.storage import join, open_store
from jobs.train_record import EpochRecord
from jobs.train_spec import DatasetTrainSpec, EpochsTrainSpec
from jobs.train_state import CHECKPOINT_NAME, SavedRun, save_run

AVERAGE_DECAY, RECENT_SHARE = 0.998, 10

M = TypeVar("M", bound=nn.Module)
B = TypeVar("B")


class TrainRun(Protocol):
    """A model with its data: one for each kind of model that is trained in epochs.

    Attributes:
        model: with its first weights.
        model_name, labels, config: for the checkpoint.
    """

    @property
    def spec(self) -> EpochsTrainSpec: ...

    @property
    def model(self) -> nn.Module: ...

    @property
    def model_name(self) -> str: ...

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def config(self) -> dict[str, Any]: ...

    def network(self) -> nn.Module:
        """What a distributed wrapper is to wrap."""

    def progress(self, network: nn.Module, *, bf16: bool) -> Progress[Any, Any]:
        """The optimisation, by way of `network`."""

    def reports(
        self, progress: Any, *, first_epoch: int, standing: Standing, share: ShareScore
    ) -> Iterator[EpochReport[Any]]:
        """Train; yields after each epoch, of which only the first worker's has something found."""

    def measured(self, report: Any) -> tuple[dict[str, float], dict[str, Any]]:
        """An epoch's held-out figures, and more to be told of it if it is the best."""

    def finish(self, read_best: Callable[[], Checkpoint]) -> Finished | None:
        """What follows the last epoch, from the best epoch's checkpoint; None where nothing does."""


@dataclass(frozen=True)
class Finished:
    """What followed the epochs of `best`: the final weights, and what to tell of them."""

    best: Checkpoint
    state: dict[str, Tensor]
    details: dict[str, Any]


def optimize_options(
    spec: EpochsTrainSpec,
    steps_per_epoch: int,
    *,
    weight_decay: float = WEIGHT_DECAY,
    grad_clip: float = GRAD_CLIP,
) -> OptimizeOptions:
    """The schedule of a run."""
    total_steps = spec.epochs * steps_per_epoch
    return OptimizeOptions(
        learning_rate=spec.lr,
        total_steps=total_steps,
        warmup_steps=min(spec.warmup_steps, total_steps // 4),
        weight_decay=weight_decay,
        grad_clip=grad_clip,
    )


def dataset_progress(
    spec: DatasetTrainSpec,
    model: M,
    network: nn.Module,
    compute: Callable[[B], Terms],
    *,
    num_samples: int,
    shard: Shard,
) -> Progress[M, B]:
    """The optimisation of a run on a dataset, of which one epoch shows `num_samples` images."""
    steps = steps_per_epoch(num_samples, spec.batch_size, shard.world_size)
    return Progress(
        model,
        network,
        compute,
        optimize_options(spec, steps, weight_decay=spec.weight_decay, grad_clip=spec.grad_clip),
        average_decay=average_decay(spec.epochs * steps, spec.average_decay),
    )


def average_decay(total_steps: int, asked: float | None = None) -> float:
    """Of the averaged weights: what was asked for, or over about 500 steps, a tenth of a shorter run."""
    if asked is not None:
        return asked
    return min(AVERAGE_DECAY, max(0.0, 1 - RECENT_SHARE / total_steps))


@contextlib.contextmanager
def copying_to_meta() -> Iterator[None]:
    """Copying weights to a model on `meta`, which checks them and keeps nothing, is meant."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "for .* copying from a non-meta parameter")
        yield


def keep_epoch(
    run: TrainRun, progress: Progress[Any, Any], report: EpochReport[Any], saved: SavedRun | None
) -> SavedRun:
    """Write the checkpoint if it is the best, then the state: in this order, so that neither is lost."""
    held_out, details = run.measured(report)
    terms = dict(report.terms)
    record = EpochRecord(report.epoch, terms.pop("total"), terms, held_out, progress.learning_rate)
    if report.is_best:
        _write_checkpoint(run, progress, record, details, before=saved)
    kept = SavedRun(
        progress.state(),
        (*(saved.history if saved else ()), record),
        report.standing,
        details if report.is_best or saved is None else saved.details,
    )
    save_run(run.spec, kept)
    return kept


def keep_finish(run: TrainRun, saved: SavedRun) -> SavedRun:
    """Do what follows the last epoch, unless it is done, and say so in the state."""
    if saved.finished:
        return saved
    spec, details = run.spec, saved.details
    store, location = open_store(spec.out, spec.access), join(spec.out, CHECKPOINT_NAME)
    done = run.finish(lambda: read_checkpoint(store.read(location)))
    if done is not None:
        best, details = done.best, details | done.details
        body = save_checkpoint(
            done.state,
            model=best.model,
            config=best.config,
            labels=best.labels,
            training=best.training | {"held_out": best.training["held_out"] | done.details},
        )
        store.put(location, body)
    kept = replace(saved, details=details, finished=True)
    save_run(spec, kept)
    return kept


def _write_checkpoint(
    run: TrainRun,
    progress: Progress[Any, Any],
    record: EpochRecord,
    details: dict[str, Any],
    *,
    before: SavedRun | None,
) -> None:
    spec = run.spec
    losses = [each.loss for each in (before.history if before else ())]
    body = save_checkpoint(
        progress.average.model.state_dict(),
        model=run.model_name,
        config=run.config,
        labels=run.labels,
        training={
            "recipe": spec.recipe,
            "epoch": record.epoch,
            "held_out": {**record.held_out, **details},
            "losses": [*losses, record.loss],
        },
    )
    open_store(spec.out, spec.access).put(join(spec.out, CHECKPOINT_NAME), body)
