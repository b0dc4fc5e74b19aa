"""What is to be done about a schedule: a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cluster.schedules.decide import Attempt, Close, Held, Idle, Timing, decide
from cluster.schedules.records import Claim, Due, Ended, Holder, Progress, Report
from cluster.schedules.runs import RunState
from cluster.schedules.schedule import Schedule

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
TIMING = Timing(lease_s=100, renew_s=10, retry_after_s=60)
HOUR = timedelta(hours=1)
SCAN = {"job": "scan", "source": {"uri": "/in"}, "sink": {"uri": "/out"}}
DATED = {"job": "annotate", "source": {"uri": "/in/{date}"}, "sink": {"uri": "/out/{tick}"}}


def schedule(spec: dict[str, Any] = SCAN, **more: Any) -> Schedule:
    content = {"name": "line", "cron": "0 * * * *", "timezone": "UTC", "spec": spec, "definition": 1}
    return Schedule.model_validate({**content, "since": NOON - 3 * HOUR, **more})


def hours(first: int, last: int, count: int, kind: str = "tick") -> Due:
    """Due times in hours after noon."""
    return Due.model_validate(
        {"kind": kind, "first": NOON + first * HOUR, "last": NOON + last * HOUR, "count": count}
    )


def state(
    *,
    done: bool = False,
    silent_s: float = 0,
    ended: str | None = None,
    ended_s: float = 0,
    **claim: Any,
) -> RunState:
    content = {
        "number": 7,
        "attempt": 2,
        "failures": 1,
        "due": hours(-1, -1, 1),
        "definition": 1,
        "progress": Progress(until=NOON - HOUR),
        "holder": Holder(id="h", host="there", pid=1),
        "at": NOON - HOUR,
    }
    end = None
    if ended:
        at = NOON - timedelta(seconds=ended_s)
        end = Ended.model_validate({"outcome": ended, "at": at, "report": Report(exit_code=1)})
    return RunState(Claim.model_validate(content | claim), NOON - timedelta(seconds=silent_s), end, done)


@pytest.mark.parametrize(
    ("what", "last", "expected"),
    [
        pytest.param(
            schedule(), None, Attempt(1, 1, 0, hours(-2, 0, 3), Progress(until=NOON)), id="missed ones share"
        ),
        pytest.param(
            schedule(DATED),
            None,
            Attempt(1, 1, 0, hours(-2, -2, 1), Progress(until=NOON - 2 * HOUR)),
            id="a source by date: one after the other",
        ),
        pytest.param(
            schedule(),
            state(done=True),
            Attempt(8, 1, 0, hours(0, 0, 1), Progress(until=NOON)),
            id="after the last run",
        ),
        pytest.param(
            schedule(),
            state(done=True, progress=Progress(until=NOON)),
            Idle("not due", NOON + HOUR),
            id="not due",
        ),
        pytest.param(schedule(since=NOON), None, Idle("not due", NOON + HOUR), id="added just now"),
        pytest.param(
            schedule(since=NOON), state(done=True), Idle("not due", NOON + HOUR), id="resumed just now"
        ),
        pytest.param(schedule(paused=True), None, Idle("paused"), id="paused"),
        pytest.param(schedule(removed=True), state(done=True), Idle("removed"), id="removed"),
        pytest.param(
            schedule(), state(silent_s=100), Held("run 7 is with process 1 on there"), id="it lives"
        ),
        pytest.param(
            schedule(paused=True), state(), Held("run 7 is with process 1 on there"), id="paused in a run"
        ),
        pytest.param(schedule(paused=True), state(silent_s=101), Idle("paused"), id="it died in a pause"),
        pytest.param(
            schedule(),
            state(silent_s=101),
            Attempt(7, 3, 2, hours(-1, -1, 1), Progress(until=NOON - HOUR)),
            id="it died",
        ),
        pytest.param(
            schedule(), state(silent_s=-90_000), Held("run 7 is with process 1 on there"), id="future"
        ),
        pytest.param(schedule(max_attempts=2), state(silent_s=101), Close("given up"), id="it died again"),
        pytest.param(
            schedule(definition=2), state(silent_s=101), Close("superseded"), id="replaced meanwhile"
        ),
        pytest.param(
            schedule(definition=2), state(), Held("run 7 is with process 1 on there"), id="replaced in a run"
        ),
        pytest.param(
            schedule(),
            state(ended="failed", ended_s=59, silent_s=101),
            Held("run 7 failed and is tried again from 12:00:01 UTC on"),
            id="it failed a moment ago",
        ),
        pytest.param(
            schedule(),
            state(ended="failed", ended_s=60),
            Attempt(7, 3, 2, hours(-1, -1, 1), Progress(until=NOON - HOUR)),
            id="it failed a while ago",
        ),
        pytest.param(
            schedule(max_attempts=2),
            state(ended="interrupted"),
            Attempt(7, 3, 1, hours(-1, -1, 1), Progress(until=NOON - HOUR)),
            id="it was interrupted: no failure, no wait",
        ),
    ],
)
def test_decide(what: Schedule, last: RunState | None, expected: object) -> None:
    assert decide(what, last, NOON, TIMING) == expected


def backfill(number: int, first: int, last: int) -> dict[str, Any]:
    return {"number": number, "first": NOON + first * HOUR, "last": NOON + last * HOUR}


@pytest.mark.parametrize("spec", [SCAN, DATED], ids=["shared", "each"])
def test_backfills_come_after_what_is_due_in_their_order_and_once(spec: dict[str, Any]) -> None:
    asked = (backfill(2, -40, -38), backfill(5, -39, -39))
    what = schedule(spec, since=NOON - HOUR, backfills=asked)
    last, made = None, []
    while isinstance(step := decide(what, last, NOON, TIMING), Attempt):
        made.append((step.due.kind, int((step.due.first - NOON) / HOUR), step.due.count))
        last = state(done=True, number=step.number, progress=step.progress, due=step.due)
    each = [("backfill", -40, 1), ("backfill", -39, 1), ("backfill", -38, 1)]
    assert made == [
        ("tick", 0, 1),
        *([("backfill", -40, 3)] if spec is SCAN else each),
        ("backfill", -39, 1),
    ]
    assert step == Idle("not due", NOON + HOUR)


@pytest.mark.parametrize(("lease_s", "renew_s"), [(10, 0), (10, 6)])
def test_a_lease_outlives_a_sign_of_life_that_is_late(lease_s: float, renew_s: float) -> None:
    with pytest.raises(ValueError, match="half the lease"):
        Timing(lease_s=lease_s, renew_s=renew_s)
