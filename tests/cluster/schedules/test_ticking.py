"""What a tick does about failures, interruptions, changes and stores that break their promises."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cluster.schedules import tick as module
from cluster.schedules.book import Book
from cluster.schedules.clock import StoreClock, skew_warning
from cluster.schedules.decide import Timing
from cluster.schedules.history import attempts_of, run_content, state_of
from cluster.schedules.records import Report
from cluster.schedules.runner import Work
from cluster.schedules.runs import Runs, last_true
from cluster.schedules.schedule import Schedule
from cluster.schedules.tick import Tally, Ticker
from cvcore.errors import SpecError
from jobs.progress import SilentListener
from jobs.storage import ObjectMissing, Store, StoreUnreachable, open_store

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
DATED = {"job": "annotate", "source": {"uri": "/in/{date}"}, "sink": {"uri": "/out/{tick}"}}
OK = Report(exit_code=0, uri="/out", counts={"inputs": 3, "ok": 3, "failed": 0})
PATIENT = Timing(lease_s=3.0, renew_s=0.2, retry_after_s=0.0)
SHORT = Timing(lease_s=1.0, renew_s=0.1, retry_after_s=0.0)


@dataclass
class Hands:
    """A runner that does what it is told, in order; and what it was given to do."""

    reports: list[Report | Callable[[], Report]]
    work: list[Work] = field(default_factory=list)

    def run(self, work: Work) -> Report:
        self.work.append(work)
        report = self.reports.pop(0) if self.reports else OK
        return report if isinstance(report, Report) else report()


@dataclass
class Heard(SilentListener):
    """What was said."""

    texts: list[str] = field(default_factory=list)

    def step(self, text: str, **facts: Any) -> None:
        del facts
        self.texts.append(text)


class SetClock(StoreClock):
    """Shows what it is set to."""

    def __init__(self) -> None:
        self.time = NOON
        self.warning = ""

    def now(self) -> datetime:
        return self.time


@dataclass
class Line:
    """A schedule `line`, due every hour, on a local folder; its clock is set by hand."""

    root: str
    store: Store
    clock: SetClock = field(default_factory=SetClock)
    heard: Heard = field(default_factory=Heard)

    @property
    def book(self) -> Book:
        return Book(self.root, self.store)

    @property
    def runs(self) -> Runs:
        return Runs(self.root, "line", self.store)

    def define(self, spec: dict[str, Any] | None = None, **more: Any) -> None:
        spec = spec or {"job": "scan", "source": {"uri": "/in"}, "sink": {"uri": "/out"}}
        content = {
            "name": "line",
            "cron": "0 * * * *",
            "timezone": "UTC",
            "spec": spec,
            "since": self.clock.time,
        }

        def alter(before: object, number: int) -> Schedule:
            del before
            return Schedule.model_validate({**content, "definition": number, **more})

        self.book.change("line", "replace", alter, at=self.clock.time)

    def tick(
        self, *reports: Report | Callable[[], Report], timing: Timing | None = None
    ) -> tuple[Tally, Hands]:
        hands = Hands(list(reports))
        ticker = Ticker(
            self.root, self.store, hands, listener=self.heard, clock=self.clock, timing=timing or Timing()
        )
        return ticker.tick(), hands

    def wait(self, **time: float) -> None:
        self.clock.time += timedelta(**time)


@pytest.fixture
def line(tmp_path: Path) -> Line:
    root = str(tmp_path / "store")
    found = Line(root, open_store(root))
    found.define()
    return found


def failed(text: str, code: int = 1) -> Report:
    return Report(exit_code=code, error=text)


def outcomes(tally: Tally) -> list[str]:
    return [record.outcome for _, record in tally.records]


def test_missed_ticks_share_a_run_and_its_record_says_all(line: Line) -> None:
    line.wait(hours=3, minutes=2)
    tally, hands = line.tick()
    assert outcomes(tally) == ["finished"]
    assert [work.run for work in hands.work] == [1]
    found = run_content(next(line.runs.history()))
    assert found["ticks"] == 3
    assert found["first_due"] == "2026-11-29T13:00:00+00:00"
    assert found["last_due"] == "2026-11-29T15:00:00+00:00"
    assert found["lag_s"] == 120
    assert found["counts"] == {"inputs": 3, "ok": 3, "failed": 0}
    assert found["attempts"][0]["exit_code"] == 0
    assert "line: run 1, due 2026-11-29 15:00 UTC and for 2 missed ticks before" in line.heard.texts
    again, idle = line.tick()
    assert not again.records
    assert not idle.work
    assert again.upcoming == {"line": NOON + timedelta(hours=4)}


def test_a_source_by_date_has_a_run_for_each_tick_with_its_date(line: Line) -> None:
    line.define(DATED, cron="0 23 * * *", timezone="Asia/Tokyo")
    line.wait(days=3)
    tally, hands = line.tick()
    assert outcomes(tally) == ["finished"] * 3
    assert [work.content["source"]["uri"] for work in hands.work] == [
        "/in/2026-11-29",
        "/in/2026-11-30",
        "/in/2026-12-01",
    ]
    assert hands.work[0].content["sink"]["uri"] == "/out/20261129T140000Z"


def test_a_failed_run_is_tried_again_and_then_counts_as_failed(line: Line) -> None:
    line.wait(hours=1)
    first, _ = line.tick(failed("the store is away"))
    assert (first.retried, first.records, first.failed) == (["line"], [], True)
    _, hands = line.tick()
    assert not hands.work
    line.wait(seconds=61)
    line.tick(failed("still away", code=2))
    assert state_of(next(line.runs.history())) == "failed, to be tried again"
    line.wait(seconds=61)
    last, hands = line.tick(failed("away for good"))
    assert (hands.work[0].run, hands.work[0].attempt) == (1, 3)
    assert outcomes(last) == ["failed"]
    found = next(line.runs.history())
    assert [attempt.error for attempt in attempts_of(found)] == [
        "the store is away",
        "still away",
        "away for good",
    ]
    line.wait(hours=1)
    after, hands = line.tick()
    assert (outcomes(after), hands.work[0].run) == (["finished"], 2)


def test_too_many_failed_inputs_end_a_run_and_the_command_with_a_failure(line: Line) -> None:
    line.wait(hours=1)
    tally, _ = line.tick(OK.model_copy(update={"exit_code": 3, "error": "2 of 3 inputs failed"}))
    assert (outcomes(tally), tally.failed) == (["over limit"], True)


def interrupted() -> Report:
    raise KeyboardInterrupt


def test_an_interrupted_run_is_gone_on_with_at_once_and_does_not_count(line: Line) -> None:
    line.define(max_attempts=1)
    line.wait(hours=1)
    for stop in (interrupted, failed("interrupted", code=130)):
        tally, _ = line.tick(stop)
        assert (tally.interrupted, tally.records) == (True, [])
    tally, hands = line.tick()
    assert (outcomes(tally), hands.work[0].attempt) == (["finished"], 3)


def test_interrupted_ticks_leave_the_other_schedules_to_others(line: Line) -> None:
    def other(before: object, number: int) -> Schedule:
        del before
        content = line.book.read("line", 1).schedule.model_dump()
        return Schedule.model_validate({**content, "name": "other", "definition": number})

    line.book.change("other", "add", other, at=NOON)
    line.wait(hours=1)
    tally, hands = line.tick(interrupted)
    assert [work.schedule for work in hands.work] == ["line"]
    tally, hands = line.tick()
    assert [name for name, _ in tally.records] == ["line", "other"]


def die() -> Report:
    raise SystemExit


def test_a_process_that_dies_again_and_again_is_given_up(line: Line) -> None:
    """On the folder's own clock, which dates signs of life."""
    clock = StoreClock(line.root, line.store)
    line.clock.time = clock.now() - timedelta(hours=2)
    line.define(max_attempts=2)

    def tick(*reports: Callable[[], Report]) -> tuple[Tally, Hands]:
        hands = Hands(list(reports))
        ticker = Ticker(line.root, line.store, hands, listener=line.heard, clock=clock, timing=SHORT)
        return ticker.tick(), hands

    for attempt in (1, 2):
        with pytest.raises(SystemExit):
            tick(die)
        _, hands = tick()
        assert not hands.work
        last = line.runs.last()
        assert last is not None
        assert last.claim.attempt == attempt
        assert line.heard.texts[-1] == f"line: run 1 is with {last.claim.holder}"
        time.sleep(1.1 * SHORT.lease_s)
    tally, hands = tick()
    assert outcomes(tally) == ["given up"]
    assert not hands.work
    attempts = attempts_of(next(line.runs.history()))
    assert [attempt.outcome for attempt in attempts] == ["lost", "given up"]


def test_a_definition_that_was_replaced_is_not_gone_on_with(line: Line) -> None:
    line.wait(hours=1)
    line.tick(failed("a wrong model"))
    line.define()
    line.wait(hours=1)
    tally, hands = line.tick()
    assert outcomes(tally) == ["superseded", "finished"]
    assert [work.run for work in hands.work] == [2]


def test_what_is_paused_or_removed_in_a_run_is_not_run_again(line: Line) -> None:
    def pause() -> Report:
        line.book.change(
            "line",
            "pause",
            lambda before, _: before and before.schedule.model_copy(update={"paused": True}),
            at=NOON,
        )
        line.wait(hours=2)
        return OK

    line.wait(hours=1)
    tally, hands = line.tick(pause)
    assert (outcomes(tally), len(hands.work)) == (["finished"], 1)


def test_one_unreadable_schedule_does_not_keep_others_from_running(line: Line) -> None:
    line.store.put(f"{line.root}/schedules/changes/broken.000001.json", b'{"format": 9}')
    line.wait(hours=1)
    tally, _ = line.tick()
    assert outcomes(tally) == ["finished"]
    assert "broken.000001.json cannot be read by this version" in tally.problems["broken"]
    assert tally.failed


def test_a_store_that_overwrites_is_refused_before_anything_is_run(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overwrite(uri: str, body: bytes, *, writer: str) -> str:
        del writer
        line.store.put(uri, body)
        return "created"

    line.wait(hours=1)
    monkeypatch.setattr(line.store, "create", overwrite)
    with pytest.raises(SpecError, match="overwrites objects that it was asked only to create"):
        line.tick()
    assert line.runs.last() is None


def test_a_living_process_keeps_its_run_beyond_a_lease(line: Line) -> None:
    """On the folder's own clock: signs of life come from a thread."""
    late = StoreClock(line.root, line.store)
    line.clock.time = late.now() - timedelta(hours=2)
    line.define()
    rivals: list[Tally] = []

    def long_job() -> Report:
        end = time.monotonic() + 1.5 * PATIENT.lease_s
        while time.monotonic() < end:
            time.sleep(0.2)
            rival = Ticker(line.root, line.store, Hands([]), listener=line.heard, clock=late, timing=PATIENT)
            rivals.append(rival.tick())
        return OK

    hands = Hands([long_job])
    tally = Ticker(line.root, line.store, hands, listener=line.heard, clock=late, timing=PATIENT).tick()
    assert outcomes(tally) == ["finished"]
    assert len(rivals) > 5
    assert not any(rival.records or rival.retried for rival in rivals)


def test_signs_of_life_survive_a_store_that_is_away() -> None:
    given = []

    def give() -> None:
        given.append(1)
        raise StoreUnreachable("away")

    with module.signs_of_life(give, every_s=0.01):
        deadline = time.monotonic() + 10
        while len(given) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(given) >= 3


@pytest.mark.parametrize(
    ("own_s", "words"),
    [
        pytest.param(0, None, id="right"),
        pytest.param(9, None, id="about right"),
        pytest.param(86400, "1 day, 0:00:00 ahead of the store's", id="a day ahead"),
        pytest.param(-3600, "0:59:59 behind the store's", id="an hour behind"),
    ],
)
def test_a_clock_that_is_off_is_said(own_s: float, words: str | None) -> None:
    own = NOON + timedelta(seconds=own_s)
    found = skew_warning(own, NOON, own + timedelta(seconds=1))
    assert words in found if words else found == ""


def test_runs_of_many_folders_are_found_by_few_questions() -> None:
    for last in (*range(70), 1000, 123_456):
        asked: list[int] = []

        def begun(n: int, last: int = last, asked: list[int] = asked) -> bool:
            asked.append(n)
            return n <= last

        assert last_true(begun) == last
        assert len(asked) <= 2 * last.bit_length() + 1


def test_a_long_history_is_read_across_folders(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.schedules.runs.RUNS_A_FOLDER", 3)
    line.define(DATED)
    line.wait(hours=11)
    line.tick()
    found = [run_content(run)["run"] for run in line.runs.history()]
    assert found == list(range(11, 0, -1))
    last = line.runs.last()
    assert last is not None
    assert last.claim.number == 11
    with pytest.raises(ObjectMissing):
        line.store.read(f"{line.root}/schedules/runs/line/000000/000000003.done.json")
