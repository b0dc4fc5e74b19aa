"""Events go into a log and come back as they were."""

from __future__ import annotations

import json

import pytest

from cluster.events import (
    parse_event,
    progress_event,
    replay,
    result_event,
    result_of,
    snapshot_of,
)
from jobs.outcome import RunResult
from jobs.progress import STAGES, Snapshot, StageCount

SNAPSHOT = Snapshot(
    total=1000,
    before=200,
    elapsed_s=40.5,
    actors_ready=1,
    actors=2,
    stages={stage: StageCount(100 * n, n) for n, stage in enumerate(STAGES, 1)},
    rates=dict.fromkeys(STAGES, 12.25),
)
RESULT = RunResult(
    "s3://b/out",
    "finished",
    {"counts": {"inputs": 3}, "failures": {}, "job_id": "j"},
    5.25,
    1.5,
    2.0,
    over_limit=True,
)


def test_a_snapshot_comes_back() -> None:
    event = parse_event(json.dumps(progress_event(SNAPSHOT)))
    assert event is not None
    assert snapshot_of(event) == SNAPSHOT


def test_a_result_comes_back_as_far_as_it_is_shown() -> None:
    event = parse_event(json.dumps(result_event(RESULT)))
    assert event is not None
    assert result_of(event) == RESULT


@pytest.mark.parametrize("line", ["", "{", "text", '{"event": "other"}', "[1]", '{"text": "no event"}', "{}"])
def test_what_others_print_is_no_event(line: str) -> None:
    assert parse_event(line) is None


class _Told:
    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def step(self, text: str, **facts: object) -> None:
        self.calls.append(("step", text, facts))

    def progress(self, snapshot: Snapshot) -> None:
        self.calls.append(("progress", snapshot))

    def result(self, result: RunResult) -> None:
        self.calls.append(("result", result))

    def error(self, message: str) -> None:
        self.calls.append(("error", message))

    def close(self) -> None:
        raise AssertionError("only its owner closes it")


def test_a_display_is_told_what_the_driver_was() -> None:
    told = _Told()
    events = [
        {"event": "step", "text": "Planned", "inputs": 3},
        progress_event(SNAPSHOT),
        result_event(RESULT),
        {"event": "error", "message": "too many"},
    ]
    for event in events:
        replay(event, told)
    assert told.calls == [
        ("step", "Planned", {"inputs": 3}),
        ("progress", SNAPSHOT),
        ("result", RESULT),
        ("error", "too many"),
    ]
