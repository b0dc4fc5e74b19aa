"""Ticking again and again: how many processes, and how it ends."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cluster.schedules.decide import Attempt, Close, Held, Idle, Step
from cluster.schedules.office import Office
from cluster.schedules.records import Due, Progress
from cluster.schedules.serve import Server, to_start
from cvcore.errors import SpecError
from jobs.progress import SilentListener
from jobs.storage import open_store
from tests.runs import veedor_command

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
DUE = Attempt(1, 1, 0, Due(first=NOON, last=NOON, count=1), Progress())
STEPS: dict[str, Step] = {
    "a": Idle("not due"),
    "b": DUE,
    "c": Held("run 3 is with another"),
    "d": Close("superseded"),
    "e": DUE,
}


@pytest.mark.parametrize(
    ("busy", "at_once", "expected"),
    [
        pytest.param([], 9, ["b", "d", "e"], id="all that is to be done"),
        pytest.param([], 1, ["b"], id="one at a time"),
        pytest.param(["b"], 2, ["d"], id="not what has a process"),
        pytest.param(["b", "x"], 2, [], id="none is free"),
    ],
)
def test_what_gets_a_process(busy: list[str], at_once: int, expected: list[str]) -> None:
    assert to_start(STEPS, busy, at_once=at_once) == expected


@dataclass
class FakeChild:
    """Ends after it was looked at so many times, or when it is asked to."""

    looks: int
    asked: bool = False
    waited: bool = False

    def poll(self) -> int | None:
        self.looks -= 1
        return 0 if self.looks < 0 else None

    def terminate(self) -> None:
        self.asked = True

    def wait(self) -> int:
        self.waited = True
        return 130


@dataclass
class Play:
    """What a server is given to do, and what it did."""

    steps: list[Mapping[str, Step] | Exception]
    started: list[tuple[str, FakeChild]] = field(default_factory=list)

    def look(self) -> Mapping[str, Step]:
        found = self.steps.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def start(self, name: str) -> FakeChild:
        self.started.append((name, FakeChild(1)))
        return self.started[-1][1]

    def pause(self, seconds: float) -> bool:
        del seconds
        return not self.steps

    def serve(self, at_once: int) -> None:
        Server(
            self.look, self.start, self.pause, listener=SilentListener(), every_s=1.0, at_once=at_once
        ).serve()


def test_processes_are_started_when_others_have_ended_and_all_end_with_the_server() -> None:
    play = Play([{"a": DUE, "b": DUE}, SpecError("the store is away"), {"b": DUE}, {"c": DUE}])
    play.serve(at_once=1)
    assert [name for name, _ in play.started] == ["a", "b"]
    (_, first), (_, last) = play.started
    assert (first.asked, last.asked, last.waited) == (False, True, True)


def test_the_command_runs_what_is_due_and_ends_well_when_asked_to(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    office = Office(store, open_store(store))
    spec = {
        "source": {"uri": f"{tmp_path}/none"},
        "model": {"name": f"{tmp_path}/none.cfg", "weights": "none", "labels": "none"},
        "sink": {"uri": f"{tmp_path}/out/{{date}}"},
    }
    office.add(spec, file="spec", name="line", cron="0 2 * * *", timezone="UTC", max_attempts=1)
    office.backfill("line", "2026-01-01", "2026-01-01")
    command = veedor_command("schedule", "serve", "--store", store, "--every-s", "1")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        deadline = time.monotonic() + 120
        while (last := office.runs("line").last()) is None or not last.done:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        server.send_signal(signal.SIGTERM)
        said, _ = server.communicate(timeout=60)
    assert server.returncode == 0, said
    assert "none.cfg" in said
    record = next(office.runs("line").history()).record
    assert record is not None
    assert record.outcome == "failed"
    assert record.at - record.claimed_at < timedelta(minutes=2)
    assert record.holder.pid != server.pid
