"""Real processes that tick a real store, and are killed with SIGKILL at any time."""

from __future__ import annotations

import os
import random
import sys
import time
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from cluster.schedules.book import Book
from cluster.schedules.clock import StoreClock, machine_time
from cluster.schedules.decide import Timing
from cluster.schedules.history import run_content
from cluster.schedules.records import Report
from cluster.schedules.runner import Work
from cluster.schedules.runs import Runs
from cluster.schedules.schedule import Schedule
from cluster.schedules.tick import Ticker
from jobs.progress import SilentListener
from jobs.storage import open_store
from tests.conftest import point_at
from tests.runs import ROOT
from tests.s3_files import new_bucket

FAST = Timing(lease_s=3.0, renew_s=0.2, retry_after_s=0.0)
DAY = timedelta(days=1)
SEED = 3
WITHIN_S = 100.0
NUM_TICKS = {"local": 12, "moto": 6}
IMPORTED_ONCE = ["cluster.schedules.tick", "jobs.storage.s3", __name__]


class Journal:
    """A runner that writes down what it runs, and takes a moment for it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def run(self, work: Work) -> Report:
        with self._path.open("a") as file:
            file.write(f"{work.run}\n")
        time.sleep(0.15)
        return Report(exit_code=0, uri="/out", counts={"inputs": work.run})


def tick_until_killed(root: str, journal: Path, environment: dict[str, str], days_off: int) -> None:
    """One process: `veedor tick` with another runner, and a wrong clock."""
    os.environ.update(environment)
    sys.path.insert(0, str(ROOT))
    store = open_store(root)
    clock = StoreClock(root, store, own=lambda: machine_time() + days_off * DAY)
    Ticker(root, store, Journal(journal), listener=SilentListener(), timing=FAST, clock=clock).tick()


@pytest.mark.parametrize("kind", ["local", "moto"])
def test_two_processes_at_a_time_that_are_killed_leave_one_record_a_tick(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment: dict[str, str] = {}
    root = str(tmp_path / "store")
    if kind == "moto":
        server = request.getfixturevalue("moto_s3")
        point_at(server, monkeypatch)
        environment, root = server.environment, f"s3://{new_bucket(server)}/ops"
    store = open_store(root)
    clock = StoreClock(root, store)
    until = clock.now()
    schedule = put_schedule(root, since=until - timedelta(minutes=NUM_TICKS[kind]))
    expected = schedule.due(schedule.since, until)
    context = get_context("forkserver")
    context.set_forkserver_preload(IMPORTED_ONCE)
    dice, journal, runs = random.Random(SEED), tmp_path / "journal", Runs(root, "line", store)
    deadline, killed, kills = time.monotonic() + WITHIN_S, 0, 2 * NUM_TICKS[kind]
    slots: list[Any] = [None, None]
    while (last := runs.last()) is None or last.claim.number < len(expected) or not last.done:
        assert time.monotonic() < deadline, f"{last} after {killed} kills"
        for place, process in enumerate(slots):
            if process is None or not process.is_alive():
                arguments = (root, journal, environment, dice.choice([-1, 0, 1]))
                slots[place] = context.Process(target=tick_until_killed, args=arguments, daemon=True)
                slots[place].start()
        time.sleep(dice.uniform(0.0, 0.4))
        victim = dice.choice(slots)
        if killed < kills and victim.is_alive():
            victim.kill()
            victim.join()
            killed += 1
    for process in slots:
        process.kill()
        process.join()
    assert killed > 2  # how many is a matter of how fast ticks are
    found = [run_content(run) for run in runs.history()][::-1][: len(expected)]
    assert [run["run"] for run in found] == list(range(1, len(expected) + 1))
    assert [run["last_due"] for run in found] == [instant.isoformat() for instant in expected]
    assert {run["state"] for run in found} == {"finished"}
    assert [run["counts"]["inputs"] for run in found] == [run["run"] for run in found]
    begun = [int(line) for line in journal.read_text().split()]
    assert begun == sorted(begun), "a run begins after the one before it is done"


def put_schedule(root: str, **content: Any) -> Schedule:
    """A schedule `line` with a run for each minute."""
    spec = {"job": "annotate", "source": {"uri": "/in/{tick}"}, "sink": {"uri": "/out/{tick}"}}
    rest = {"name": "line", "cron": "* * * * *", "timezone": "UTC", "spec": spec, "max_attempts": 10**6}

    def alter(before: object, number: int) -> Schedule:
        del before
        return Schedule.model_validate({**rest, **content, "definition": number})

    change = Book(root, open_store(root)).change("line", "add", alter, at=content["since"])
    assert change is not None
    return change.schedule
