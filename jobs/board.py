"""Counting what the stages do, across processes."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from jobs.progress import STAGES, Snapshot, StageCount, recent_rates
from jobs.telemetry import Telemetry

RATE_WINDOW_S = 10.0
BOARD_TIMEOUT_S = 30.0
LAST_WAIT_S = 3.0


class _Board:
    """Adds up what workers report. Losing it loses a display, and handles on actors, never a result."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[int, tuple[int, int]]] = {}
        self._actors: set[str] = set()
        self._pools: dict[str, list[Any] | None] = {}
        self._begun: dict[tuple[str, int], int] = {}

    def done(self, stage: str, unit: int, ok: int, failed: int) -> None:
        self._begun.pop((stage, unit), None)
        self._counts.setdefault(stage, {})[unit] = (ok, failed)  # a unit that is done again counts once

    def begin(self, stage: str, unit: int) -> int:
        self._begun[stage, unit] = self._begun.get((stage, unit), 0) + 1
        return self._begun[stage, unit]

    def forget(self, stage: str, unit: int) -> None:
        self._begun.pop((stage, unit), None)

    def suspects(self, beginnings: int) -> list[tuple[str, int]]:
        return sorted(key for key, count in self._begun.items() if count >= beginnings)

    def ready(self, actor: str) -> None:
        self._actors.add(actor)

    def enter(self, pool: str, actor: list[Any]) -> None:
        members = self._pools.setdefault(pool, [])
        if members is not None:
            members.extend(actor)

    def dismiss(self, pool: str) -> list[Any]:
        members = self._pools.get(pool) or []
        self._pools[pool] = None  # who comes late is not kept
        return members

    def read(self) -> tuple[dict[str, tuple[int, int]], int]:
        sums = {
            stage: (sum(ok for ok, _ in units.values()), sum(failed for _, failed in units.values()))
            for stage, units in self._counts.items()
        }
        return sums, len(self._actors)


@dataclass(frozen=True)
class Tally:
    """A worker's end of the board; calls return at once unless they say otherwise.

    `telemetry` is for operators; None where nobody but the caller watches.
    """

    board: Any
    telemetry: Telemetry | None = None

    @classmethod
    def start(cls) -> Tally:
        """On the driver's node, firmly: the board holds what must outlive other nodes.

        By soft affinity Ray places it elsewhere now and then, where the node is slow to start a process.
        """
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        board = ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=here)(_Board)
        return cls(board.remote())

    def begin(self, stage: str, unit: int) -> int:
        """Note that a unit began, so that one whose process dies is known; waits until it is noted.

        Returns how often it began since it was last done.
        """
        with contextlib.suppress(ray.exceptions.RayError):
            return int(ray.get(self.board.begin.remote(stage, unit)))
        return 1

    def done(self, stage: str, unit: int, statuses: pa.ChunkedArray, *, seconds: float) -> None:
        """Note that a unit is through a stage, how many of its rows are `ok`, and how long it took."""
        ok = statuses.to_pylist().count("ok")
        failed = len(statuses) - ok
        self.board.done.remote(stage, unit, ok, failed)
        if self.telemetry is not None:
            self.telemetry.stage_done(stage, unit, seconds=seconds, ok=ok, failed=failed)

    def suspects(self, beginnings: int) -> list[tuple[Any, int]]:
        """(stage, unit) of what began at least so often and never ended; forgotten once read."""
        found: list[tuple[Any, int]] = ray.get(self.board.suspects.remote(beginnings))
        for stage, unit in found:
            self.board.forget.remote(stage, unit)
        return found

    def ready(self, actor: str) -> None:
        self.board.ready.remote(actor)

    def enter(self, pool: str) -> None:
        """Note that the actor which calls this belongs to a pool: noted before any unit that it begins."""
        self.board.enter.remote(pool, [ray.get_runtime_context().current_actor])

    def end_pool(self, pool: str) -> None:
        """End a pool's actors now, whoever still holds handles on them; waits for the board."""
        with contextlib.suppress(ray.exceptions.RayError):
            for actor in ray.get(self.board.dismiss.remote(pool), timeout=BOARD_TIMEOUT_S):
                ray.kill(actor)


class Watch:
    """The driver's end: turns the board into snapshots, keeping the last where the board does not answer."""

    def __init__(self, tally: Tally, *, total: int, before: int, actors: int) -> None:
        self._tally = tally
        self._started = time.monotonic()
        self._last = Snapshot(total, before, 0.0, 0, actors, {name: StageCount() for name in STAGES})
        self._waiting: Any = None
        self._history: deque[tuple[float, dict[str, StageCount]]] = deque([(0.0, self._last.stages)])

    def snapshot(self) -> Snapshot:
        """The newest state known; waits at most a tenth of a second for it."""
        return self._snapshot(wait_s=0.1)

    def last_snapshot(self) -> Snapshot:
        """The state when all is done: asked for anew, and waited for."""
        self._waiting = None
        return self._snapshot(wait_s=LAST_WAIT_S)

    def _snapshot(self, *, wait_s: float) -> Snapshot:
        if self._waiting is None:
            self._waiting = self._tally.board.read.remote()
        ready, _ = ray.wait([self._waiting], timeout=wait_s)
        elapsed_s = time.monotonic() - self._started
        counts, actors_ready = self._latest() if ready else (None, self._last.actors_ready)
        stages = self._last.stages
        if counts is not None:
            stages = {name: StageCount(*counts.get(name, (0, 0))) for name in STAGES}
        last = self._last
        self._history.append((elapsed_s, stages))
        while elapsed_s - self._history[0][0] > RATE_WINDOW_S:
            self._history.popleft()
        rates = recent_rates(self._history)
        self._last = Snapshot(last.total, last.before, elapsed_s, actors_ready, last.actors, stages, rates)
        return self._last

    def _latest(self) -> tuple[dict[str, tuple[int, int]] | None, int]:
        reference, self._waiting = self._waiting, None
        try:
            counts, actors = ray.get(reference)
        except ray.exceptions.RayError:
            return None, self._last.actors_ready
        return counts, min(actors, self._last.actors)  # after a crash a new pool is counted beside the old
