"""What a training run leaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

HISTORY_NAME = "history.json"
"""In the folder of a run: its `EpochRecord`s."""


@dataclass(frozen=True)
class EpochRecord:
    """One line of a run's history.

    Attributes:
        epoch: from 0.
        loss: what was minimised, the mean over the epoch's steps.
        terms: what it is made of, likewise.
        held_out: of the averaged weights, on held-out data.
        learning_rate: of the last step; None where it was not kept.
    """

    epoch: int
    loss: float
    terms: dict[str, float]
    held_out: dict[str, float]
    learning_rate: float | None = None


@dataclass(frozen=True)
class TrainResult:
    """What a run left.

    Attributes:
        checkpoint: location of the best epoch's weights.
        history: every epoch, those before an interruption included; none of a run without epochs.
        best_epoch: index into `history`.
        details: more about the best epoch: a detector's `per_class_ap50`.
        resumed_at: the first epoch that this call trained; 0 for a fresh run, the number of epochs done for
            a run that had already ended.
    """

    checkpoint: str
    history: tuple[EpochRecord, ...]
    best_epoch: int
    details: dict[str, Any] = field(default_factory=dict)
    resumed_at: int = 0

    @property
    def best(self) -> EpochRecord:
        return self.history[self.best_epoch]

    def summary(self) -> dict[str, Any]:
        """The figures worth keeping with the weights."""
        best = {"epoch": self.best.epoch, **self.best.held_out} if self.history else {}
        return best | self.details
