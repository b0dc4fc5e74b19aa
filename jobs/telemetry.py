"""Telling operators how a job goes: metrics through Ray's agents, and JSON lines in the workers' logs.

All of it is told once for a unit, or at the driver a few times a second: nothing is done for each image.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from jobs.metrics import METRICS
from jobs.progress import Snapshot

LOG_VARIABLE: Final = "VEEDOR_LOG"
"""Set to `json` where drivers run, workers write a line on standard error for each unit and stage."""


@dataclass(frozen=True)
class Telemetry:
    """What operators are told of one job, by its driver and its workers.

    Attributes:
        job: its kind.
        job_id: whole.
        logs: whether workers write JSON lines.
    """

    job: str
    job_id: str
    logs: bool = False

    @classmethod
    def of(cls, job: str, job_id: str) -> Telemetry:
        """With logs if the driver's environment asks for them."""
        return cls(job, job_id, logs=os.environ.get(LOG_VARIABLE) == "json")

    def stage_done(self, stage: str, unit: int, *, seconds: float, ok: int, failed: int) -> None:
        """A unit is through a stage."""
        _metric("veedor_unit_seconds").observe(seconds, self._labels(stage=stage))
        self.log("unit", stage=stage, unit=unit, seconds=round(seconds, 4), ok=ok, failed=failed)

    def published(self, *, rows: int, failures: Mapping[str, int]) -> None:
        """A unit's rows stand in the store."""
        failed = sum(failures.values())
        images = _metric("veedor_images_total")
        for outcome, count in (("ok", rows - failed), ("failed", failed)):
            if count:
                images.inc(count, self._labels(outcome=outcome))
        for reason, count in failures.items():
            _metric("veedor_failures_total").inc(count, self._labels(reason=reason))

    def computed(self, *, batch_size: int, memory: Mapping[str, int]) -> None:
        """An actor has computed a unit.

        Args:
            batch_size: what it now computes at once.
            memory: of its GPU, bytes by kind; empty on CPUs.
        """
        _metric("veedor_batch_size").set(batch_size, self._labels())
        for kind, count in memory.items():
            _metric("veedor_gpu_memory_bytes").set(count, self._labels(kind=kind))

    def progress(self, snapshot: Snapshot) -> None:
        """The job's state, as its driver sees it."""
        stages = snapshot.stages
        inputs = {"total": snapshot.total, "published": snapshot.before + stages["write"].done}
        waiting = {
            "infer": stages["decode"].done - stages["infer"].done,
            "write": stages["infer"].done - stages["write"].done,
        }
        actors = {"wanted": snapshot.actors, "ready": snapshot.actors_ready}
        for state, count in inputs.items():
            _metric("veedor_inputs").set(count, self._labels(state=state))
        for stage, count in waiting.items():
            _metric("veedor_queue_images").set(max(0, count), self._labels(stage=stage))
        for state, count in actors.items():
            _metric("veedor_actors").set(count, self._labels(state=state))

    def log(self, event: str, **facts: Any) -> None:
        """Write one JSON line, if that is asked for."""
        if self.logs:
            line = {"time": round(time.time(), 3), "event": event, "job": self.job, "job_id": self.job_id}
            # In one write: `print` makes two, between which another thread's line can come.
            sys.stderr.write(json.dumps(line | facts) + "\n")
            sys.stderr.flush()

    def _labels(self, **more: str) -> dict[str, str]:
        return {"job": self.job, "job_id": self.job_id[:12], **more}


@functools.cache
def _metric(name: str) -> Any:
    """A metric of this process; Ray wants each made once."""
    from ray.util.metrics import Counter, Gauge, Histogram

    entry = METRICS[name]
    if entry.kind == "histogram":
        return Histogram(name, entry.text, boundaries=list(entry.bounds), tag_keys=entry.all_labels)
    kind = Counter if entry.kind == "counter" else Gauge
    return kind(name, entry.text, tag_keys=entry.all_labels)
