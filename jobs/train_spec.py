"""What a training run is asked for, and what it leaves."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from jobs.spec import Fraction, Location, Section, StorageSection
from jobs.storage import Access

PROGRESS_ONLY = {"max_failures", "num_threads", "gpus_per_worker", "storage"}
"""Fields that change how a run is carried out, not what it computes."""


class TrainSpec(Section):
    """A training run.

    Attributes:
        data, val_data: folders with `annotations.json` (COCO instances) and `images/`.
        out: folder for the checkpoint, the history and the state that a killed run resumes from.
        model: the architecture.
        width, input_size: see `cvcore.detect.tiny.build_tiny`; None for its own.
        anchors: `default`, or `fit` to cluster the training boxes.
        init: a checkpoint to start from instead of random weights; its labels must be the dataset's.
        epochs: of the whole run.
        batch_size: images in one step of one worker.
        lr: the peak learning rate.
        warmup_steps: steps of the learning rate's rise, at most a quarter of the run.
        patience: epochs without a better held-out mAP@0.5 after which the run ends; None never.
        turn: whether views may be turned and mirrored in every way; set to false where up means something.
        color: strength of the random colour changes.
        seed: of the weights, the order and the augmentation.
        precision: `auto` is bfloat16 where the processor computes it natively.
        num_workers: data-parallel workers, each with a replica.
        num_threads: torch threads of a worker; None leaves Ray's choice.
        gpus_per_worker: 0 trains on CPUs.
        max_failures: restarts of the workers, each from the last finished epoch.
        storage: which endpoint and profile S3 locations use.
    """

    data: Location
    val_data: Location
    out: Location
    model: Literal["tiny"] = "tiny"
    width: Annotated[int, Field(ge=2)] | None = None
    input_size: Annotated[int, Field(ge=32)] | None = None
    anchors: Literal["default", "fit"] = "default"
    init: Location | None = None
    epochs: Annotated[int, Field(ge=1)] = 20
    batch_size: Annotated[int, Field(ge=1)] = 16
    lr: Annotated[float, Field(gt=0)] = 1.5e-3
    warmup_steps: Annotated[int, Field(ge=0)] = 300
    patience: Annotated[int, Field(ge=1)] | None = None
    turn: bool = True
    color: Fraction = 0.2
    seed: Annotated[int, Field(ge=0)] = 0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    num_workers: Annotated[int, Field(ge=1)] = 1
    num_threads: Annotated[int, Field(ge=1)] | None = None
    gpus_per_worker: Annotated[float, Field(ge=0)] = 0.0
    max_failures: Annotated[int, Field(ge=0)] = 2
    storage: StorageSection = StorageSection()

    @property
    def access(self) -> Access:
        """How to reach object storage."""
        return self.storage.access()

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides the weights: a state is resumed only by the run that made it."""
        return hashlib.sha256(self.model_dump_json(exclude=PROGRESS_ONLY).encode()).hexdigest()


@dataclass(frozen=True)
class EpochRecord:
    """One line of a run's history; metrics are of the averaged weights on the held-out data."""

    epoch: int
    loss: float
    box_loss: float
    objectness_loss: float
    class_loss: float
    ap: float
    ap50: float
    ap75: float


@dataclass(frozen=True)
class TrainResult:
    """What a run left.

    Attributes:
        checkpoint: location of the best epoch's weights.
        history: every epoch, those before an interruption included.
        best_epoch: index into `history`.
        per_class_ap50: of the best epoch, by label.
        resumed_at: the first epoch that this call trained; 0 for a fresh run, the number of epochs done for
            a run that had already ended.
    """

    checkpoint: str
    history: tuple[EpochRecord, ...]
    best_epoch: int
    per_class_ap50: dict[str, float]
    resumed_at: int

    @property
    def best(self) -> EpochRecord:
        return self.history[self.best_epoch]

    def summary(self) -> dict[str, Any]:
        """The figures worth keeping with the weights."""
        best = self.best
        return {"epoch": best.epoch, "ap": best.ap, "ap50": best.ap50, "per_class_ap50": self.per_class_ap50}
