"""What a run tells whoever watches it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

STAGES = ("decode", "infer", "write")


@dataclass(frozen=True, slots=True)
class StageCount:
    """Rows that a stage has finished in this run."""

    ok: int = 0
    failed: int = 0

    @property
    def done(self) -> int:
        return self.ok + self.failed


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a run at one moment, for display.

    Attributes:
        total: inputs of the whole job.
        before: inputs that earlier runs had published.
        elapsed_s: since the pipeline started.
        actors_ready, actors: model replicas that are up, and wanted.
        stages: counts of this run by stage name.
        rates: images a second of each stage over the last moments.
    """

    total: int
    before: int
    elapsed_s: float
    actors_ready: int
    actors: int
    stages: dict[str, StageCount] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)

    def images_per_s(self, stage: str) -> float:
        return self.rates.get(stage, 0.0)

    def remaining_s(self, stage: str) -> float | None:
        """Estimated seconds until the stage is done; None while it stands still."""
        left, rate = self.total - self.before - self.stages[stage].done, self.images_per_s(stage)
        if left == 0:
            return 0.0
        return left / rate if rate > 0 else None


def recent_rates(history: Sequence[tuple[float, dict[str, StageCount]]]) -> dict[str, float]:
    """Images a second of each stage between the first and the last moment of `history`, (seconds, counts)."""
    (began_s, before), (ended_s, now) = history[0], history[-1]
    span_s = ended_s - began_s
    return {stage: (now[stage].done - before[stage].done) / span_s if span_s > 0 else 0.0 for stage in now}


class Listener(Protocol):
    """Whoever shows a run to a person or a machine."""

    def step(self, text: str, **facts: Any) -> None:
        """Something was done or found, once."""

    def progress(self, snapshot: Snapshot) -> None:
        """The pipeline's state, a few times a second."""


class SilentListener:
    """Shows nothing."""

    def step(self, text: str, **facts: Any) -> None:
        del text, facts

    def progress(self, snapshot: Snapshot) -> None:
        del snapshot
