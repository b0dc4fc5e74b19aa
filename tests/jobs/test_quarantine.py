"""Finding deadly inputs by bisection, with processes made up by the test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorUnavailableError, WorkerCrashedError

from jobs import quarantine
from jobs.progress import SilentListener
from jobs.quarantine import MAX_STALLS, find_deadly, run_surviving


@pytest.mark.parametrize(
    ("rows", "deadly"),
    [
        pytest.param(range(0), set(), id="nothing"),
        pytest.param(range(5), set(), id="all harmless"),
        pytest.param([7], {7}, id="the only one"),
        pytest.param(range(256), {0}, id="first"),
        pytest.param(range(256), {255}, id="last"),
        pytest.param(range(10, 41), {13, 14, 40}, id="several"),
        pytest.param(range(6), set(range(6)), id="all deadly"),
    ],
)
def test_exactly_the_deadly_rows_are_found(rows: Sequence[int], deadly: set[int]) -> None:
    trials = 0

    def survives(tried: Sequence[int]) -> bool:
        nonlocal trials
        trials += 1
        return not deadly & set(tried)

    assert find_deadly(list(rows), survives) == sorted(deadly)
    assert trials <= 1 + len(deadly) * 2 * (len(rows).bit_length() + 1)


def test_one_crash_by_chance_condemns_nothing() -> None:
    crashes = iter([True, True, True])

    def survives(tried: Sequence[int]) -> bool:
        return not (0 in tried and next(crashes, False))

    assert find_deadly(list(range(4)), survives) == [], "row 0 was survived alone at the second try"


@dataclass(frozen=True)
class Units:
    """As much of a pipeline as is asked for while nothing is set aside."""

    units: list[int]
    decode: Any = field(default_factory=lambda: SimpleNamespace(quarantine=SimpleNamespace(known={})))


def crash(error: Exception, failing: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let the first runs of pipelines publish nothing; returns the list that waits are added to."""
    waits: list[float] = []
    errors = iter([error] * failing)

    def run(pipeline: Units) -> Iterator[SimpleNamespace]:
        for found in errors:
            raise found
        yield from (SimpleNamespace(number=unit) for unit in pipeline.units)

    monkeypatch.setattr(quarantine, "run_pipeline", run)
    monkeypatch.setattr(quarantine, "_refreshed", lambda pipeline: pipeline)
    monkeypatch.setattr(quarantine, "quarantine_suspects", lambda *_, **__: None)
    monkeypatch.setattr(quarantine.time, "sleep", waits.append)
    return waits


def survive(units: list[int]) -> list[int]:
    pipeline: Any = Units(units)
    return [summary.number for summary in run_surviving(pipeline, listener=SilentListener())]


LOST_MACHINE = ActorUnavailableError("unavailable", bytes(16))
CRASH = WorkerCrashedError()


@pytest.mark.parametrize(("error", "waits"), [(LOST_MACHINE, 2), (CRASH, 0)], ids=["machine", "process"])
def test_what_is_left_is_done_after_a_loss_which_is_waited_for(
    error: Exception, waits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = crash(error, MAX_STALLS - 1, monkeypatch)
    assert survive([3, 4]) == [3, 4]
    assert len(waited) == waits
    assert sum(waited) <= 60


@pytest.mark.parametrize("error", [LOST_MACHINE, CRASH], ids=["machine", "process"])
def test_what_never_goes_on_ends_with_its_reason(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    crash(error, MAX_STALLS, monkeypatch)
    with pytest.raises(type(error)):
        survive([3, 4])
