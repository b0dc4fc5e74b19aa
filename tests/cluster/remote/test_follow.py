"""Following a log: every line once, whatever the connection does, and the job's own exit code."""

from __future__ import annotations

import io
import random
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from rich.console import Console

from cluster.console import PlainDisplay
from cluster.events import progress_event, result_event, step_event
from cluster.remote import follow as module
from cluster.remote.connect import Cluster
from cluster.remote.follow import Ended, Lines, follow, show_log
from jobs.outcome import JobFailed, RunResult
from jobs.progress import STAGES, Snapshot, StageCount

LOG = "one\ntwo\n\nthree and more\n" + "".join(f"line {n}\n" for n in range(50)) + "no end"


@pytest.mark.parametrize("seed", range(20))
def test_lines_come_once_and_whole_however_they_are_cut_and_begun_again(seed: int) -> None:
    rng, lines, found = random.Random(seed), Lines(), []
    for attempt in range(4):
        lines.restart()
        until = len(LOG) if attempt == 3 else rng.randrange(len(LOG))
        at = 0
        while at < until:
            size = rng.randint(1, 40)
            found += lines.take(LOG[at : min(at + size, until)])
            at += size
    assert [*found, lines.last()] == LOG.split("\n")


@pytest.mark.parametrize(
    ("status", "exit_code", "code"),
    [
        ("SUCCEEDED", 0, 0),
        ("FAILED", 1, 1),
        ("FAILED", 2, 2),
        ("FAILED", 3, 3),
        ("FAILED", -9, 1),
        ("FAILED", 137, 1),
        ("FAILED", None, 1),
        ("STOPPED", None, 1),
    ],
)
def test_a_command_that_waited_exits_as_the_job_did(status: str, exit_code: int | None, code: int) -> None:
    assert Ended(status, exit_code, "").code == code


class _Details:
    """Ray's record of a job, as far as following looks at it."""

    def __init__(self, status: str, exit_code: int | None, message: str) -> None:
        self.status = type("Status", (), {"value": status})
        self.driver_exit_code = exit_code
        self.message = message


class _Client:
    """A job server whose connections break after so many characters each."""

    def __init__(self, log: str, cuts: list[int], ended: _Details) -> None:
        self.log, self.cuts, self.ended = log, cuts, ended

    async def tail_job_logs(self, submission_id: str) -> AsyncIterator[str]:
        assert submission_id == "job-1"
        if self.cuts:
            yield self.log[: self.cuts.pop(0)]
            raise RuntimeError("WebSocket connection closed unexpectedly")
        yield self.log

    def get_job_info(self, submission_id: str) -> _Details:
        del submission_id
        return self.ended

    def get_job_status(self, submission_id: str) -> Any:
        del submission_id
        return self.ended.status


def run(log: str, ended: _Details, *cuts: int) -> tuple[Ended, str]:
    output = io.StringIO()
    client = cast(Any, _Client(log, list(cuts), ended))
    display = PlainDisplay(Console(file=output, width=200))
    return follow(Cluster("http://cluster", client, None, None), "job-1", display), output.getvalue()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.0)


SNAPSHOT = Snapshot(100, 0, 9.0, 1, 1, dict.fromkeys(STAGES, StageCount(90, 10)))
MANIFEST = {"job_id": "j", "counts": {"inputs": 100, "ok": 90, "failed": 10, "detections": 5}, "failures": {}}


def log_of(*events: dict[str, Any]) -> str:
    import json

    rays = "2026-11-29 07:34:57,684\tINFO job_manager.py:581 -- Runtime env is setting up.\n"
    return (
        rays
        + "Running entrypoint for job job-1: exec python\n"
        + "".join(json.dumps(e) + "\n" for e in events)
    )


def test_a_job_is_shown_as_one_that_runs_here(capsys: pytest.CaptureFixture[str]) -> None:
    log = log_of(
        step_event("Planned 100 images", {"inputs": 100}),
        progress_event(SNAPSHOT),
        result_event(RunResult("s3://b/out", "finished", MANIFEST, 100.0, 10.0, 11.1)),
    )
    ended, shown = run(log, _Details("SUCCEEDED", 0, ""), 30, 200)
    assert ended.code == 0
    lines = shown.splitlines()
    assert lines[0] == "Planned 100 images"
    assert "write 100/100" in lines[1]
    assert len(lines) == 2, "what Ray says of itself is left out, and nothing comes twice"
    assert "s3://b/out/data" in capsys.readouterr().out


def test_what_is_no_event_is_shown_too() -> None:
    ended, shown = run(
        log_of() + "Traceback (most recent call last):\n  boom", _Details("FAILED", 1, "Job failed")
    )
    assert ended.code == 1
    assert shown.splitlines() == [
        "Traceback (most recent call last):",
        "  boom",
        "error: job-1 failed (Job failed): submit it again to continue",
    ]


def test_a_reason_that_was_given_is_not_given_twice() -> None:
    log = log_of({"event": "error", "message": "there is no bucket 'x'"})
    ended, shown = run(log, _Details("FAILED", 2, "Job entrypoint command failed with exit code 2, …"))
    assert ended.code == 2
    assert shown.splitlines() == ["error: there is no bucket 'x'"]


def test_a_cluster_that_stays_away_is_given_up() -> None:
    with pytest.raises(JobFailed, match="does not answer any more"):
        run("", _Details("RUNNING", None, ""), *[0] * 10)


def test_of_a_log_the_last_progress_is_shown() -> None:
    output = io.StringIO()
    half = Snapshot(100, 0, 5.0, 1, 1, dict.fromkeys(STAGES, StageCount(50, 0)))
    show_log(
        log_of(progress_event(half), progress_event(SNAPSHOT)), PlainDisplay(Console(file=output, width=200))
    )
    (line,) = output.getvalue().splitlines()
    assert "100/100" in line
