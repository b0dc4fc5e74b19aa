"""Changes of schedules by several people at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from cluster.schedules.office import Office
from cvcore.errors import SpecError
from jobs.storage import open_store
from tests.conftest import point_at
from tests.s3_files import new_bucket

SCAN = {"job": "scan", "source": {"uri": "/in"}, "model": {"name": "/models/line3/"}, "sink": {"uri": "/out"}}
NUM_PEOPLE = 6
REFUSED = "there is a schedule 'line3' already"


@pytest.fixture(params=["local", "moto"])
def office(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    root = str(tmp_path / "store")
    if request.param == "moto":
        server = request.getfixturevalue("moto_s3")
        point_at(server, monkeypatch)
        root = f"s3://{new_bucket(server)}/ops/"
    return Office(root, open_store(root))


def add(office: Office, name: str = "line3", *, cron: str = "0 * * * *", replace: bool = False) -> None:
    office.add(SCAN, file="line3.yaml", name=name, cron=cron, timezone="UTC", replace=replace)


def test_of_many_changes_at_once_none_is_lost(office: Office) -> None:
    add(office)
    day = datetime.now(UTC) - timedelta(days=3)

    def ask(person: int) -> None:
        time = (day + timedelta(hours=person)).isoformat()
        office.backfill("line3", (day - timedelta(hours=1)).isoformat(), time)
        if person == 0:
            office.pause("line3")

    with ThreadPoolExecutor(NUM_PEOPLE) as pool:
        list(pool.map(ask, range(NUM_PEOPLE)))
    now = office.book.find("line3")
    assert now.number == 1 + NUM_PEOPLE + 1
    assert now.schedule.paused
    asked = {backfill.last for backfill in now.schedule.backfills}
    assert asked == {day + timedelta(hours=person) for person in range(NUM_PEOPLE)}
    assert len({backfill.number for backfill in now.schedule.backfills}) == NUM_PEOPLE
    kinds = [office.book.read("line3", number).kind for number in range(1, now.number + 1)]
    assert sorted(kinds) == ["add", *["backfill"] * NUM_PEOPLE, "pause"]


def test_of_many_who_add_one_name_one_does(office: Office) -> None:
    def try_to_add(person: int) -> str:
        try:
            add(office, cron=f"{person} * * * *")
        except SpecError as error:
            return str(error)[: len(REFUSED)]
        return f"{person} * * * *"

    with ThreadPoolExecutor(NUM_PEOPLE) as pool:
        outcomes = list(pool.map(try_to_add, range(NUM_PEOPLE)))
    assert sorted(outcomes)[1:] == [REFUSED] * (NUM_PEOPLE - 1)
    assert office.book.find("line3").schedule.cron == min(outcomes)


def test_who_replaces_what_another_has_just_changed_is_told(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(office)
    ask_for_the_time = office.clock.now

    def another_first() -> datetime:
        monkeypatch.setattr(office.clock, "now", ask_for_the_time)
        office.pause("line3")
        return ask_for_the_time()

    monkeypatch.setattr(office.clock, "now", another_first)
    with pytest.raises(SpecError, match=r"was changed meanwhile by .*\(pause\)"):
        add(office, cron="5 * * * *", replace=True)
    add(office, cron="5 * * * *", replace=True)
    add(office, cron="5 * * * *", replace=True)  # what deploys it may do so again and again
    schedule = office.book.find("line3").schedule
    assert (schedule.cron, schedule.paused, schedule.definition) == ("5 * * * *", True, 3)


def test_a_schedule_through_its_life(office: Office) -> None:
    add(office)
    assert office.pause("line3") is not None
    assert office.pause("line3") is None
    resumed = office.resume("line3")
    assert resumed is not None
    assert resumed.schedule.since == resumed.at
    assert office.resume("line3") is None
    office.remove("line3")
    with pytest.raises(SpecError, match="was removed by"):
        office.pause("line3")
    add(office, cron="5 * * * *")
    schedule = office.book.find("line3").schedule
    assert (schedule.definition, schedule.removed, schedule.paused) == (5, False, False)
    assert [each.change.kind for each in office.look()[0]] == ["add"]


@pytest.mark.parametrize(
    ("since", "until", "words"),
    [
        pytest.param("2026-01-02", "2026-01-01", "is after --to", id="backwards"),
        pytest.param("2026-01-02", "2999-01-01", "is not over", id="to come"),
        pytest.param("2026-01-01T02:01", "2026-01-01T02:59", "names no time from", id="nothing due"),
        pytest.param("2016-01-01", "2026-01-01", "are more than 10,000", id="too much"),
        pytest.param("soon", "2026-01-01", "--from 'soon' is no date", id="no time"),
    ],
)
def test_a_backfill_of_what_cannot_be(tmp_path: Path, since: str, until: str, words: str) -> None:
    office = Office(str(tmp_path), open_store(str(tmp_path)))
    add(office)
    with pytest.raises(SpecError, match=words):
        office.backfill("line3", since, until)
    assert office.book.find("line3").number == 1


def test_two_changes_made_of_the_same_state_are_both_made(tmp_path: Path) -> None:
    office = Office(str(tmp_path), open_store(str(tmp_path)))
    add(office)
    asked = partial(office.backfill, "line3")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda day: asked(f"2026-01-{day:02}", f"2026-01-{day:02}"), [1, 2]))
    assert len(office.book.find("line3").schedule.backfills) == 2
