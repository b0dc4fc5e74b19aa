"""When schedules fire: tables, and every change of clocks of 20 zones from 2020 to 2035."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.schedules.cron import Cron
from cluster.schedules.due import due, instants_after, next_instants
from cluster.schedules.zones import find_zone, instant_of

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
ZONES = (
    "Africa/Cairo Africa/Casablanca America/Asuncion America/Havana America/New_York America/Nuuk "
    "America/Santiago America/Sao_Paulo America/St_Johns Antarctica/Troll Asia/Amman Asia/Beirut Asia/Gaza "
    "Asia/Kolkata Asia/Tehran Australia/Lord_Howe Europe/Dublin Europe/Madrid Pacific/Chatham Pacific/Norfolk"
).split()
FIRST, LAST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
THREE_YEARS = (datetime(2022, 1, 2, tzinfo=UTC), datetime(2025, 1, 2, tzinfo=UTC))
WINDOW = 5 * HOUR


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "zone", "since", "now", "expected"),
    [
        pytest.param(
            "0 2 * * *", "UTC", "2026-01-01 02:00", "2026-01-02 02:00", ["2026-01-02 02:00"], id="ends"
        ),
        pytest.param("0 2 * * *", "UTC", "2026-01-01 02:00", "2026-01-02 01:59", [], id="nothing yet"),
        pytest.param("0 2 * * *", "UTC", "2026-01-02 03:00", "2026-01-01 03:00", [], id="clock went back"),
        pytest.param(
            "30 2 * * *",
            "Europe/Madrid",
            "2026-03-28 12:00",
            "2026-03-30 12:00",
            ["2026-03-29 01:00", "2026-03-30 00:30"],
            id="skipped: when clocks skip it",
        ),
        pytest.param(
            "0,30 2,3 * * *",
            "Europe/Madrid",
            "2026-03-28 12:00",
            "2026-03-29 12:00",
            ["2026-03-29 01:00", "2026-03-29 01:30"],
            id="skipped, and the time after it: once",
        ),
        pytest.param(
            "30 2 * * *",
            "Europe/Madrid",
            "2026-10-24 12:00",
            "2026-10-26 12:00",
            ["2026-10-25 00:30", "2026-10-26 01:30"],
            id="shown twice: the first time",
        ),
        pytest.param(
            "30 2 * * *", "Europe/Madrid", "2026-10-25 00:30", "2026-10-25 12:00", [], id="shown again: not"
        ),
        pytest.param(
            "0 0 * * *",
            "America/Santiago",
            "2026-09-05 12:00",
            "2026-09-06 12:00",
            ["2026-09-06 04:00"],
            id="midnight is skipped",
        ),
        pytest.param(
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03 00:00",
            "2026-10-04 00:00",
            ["2026-10-03 15:30"],
            id="half an hour is skipped",
        ),
        pytest.param(
            "0 12 * * *",
            "Pacific/Apia",
            "2011-12-29 00:00",
            "2011-12-31 23:00",
            ["2011-12-29 22:00", "2011-12-30 10:00", "2011-12-30 22:00", "2011-12-31 22:00"],
            id="a day is skipped",
        ),
        pytest.param(
            "0 0 31 * *", "UTC", "2026-01-31 00:00", "2026-05-01 00:00", ["2026-03-31 00:00"], id="the 31st"
        ),
        pytest.param(
            "0 0 29 2 *", "UTC", "2026-01-01 00:00", "2030-01-01 00:00", ["2028-02-29 00:00"], id="leap day"
        ),
        pytest.param(
            "0 6 1 * mon",
            "UTC",
            "2026-11-28 00:00",
            "2026-12-08 00:00",
            ["2026-11-30 06:00", "2026-12-01 06:00", "2026-12-07 06:00"],
            id="day of month or of week, as cron has it",
        ),
    ],
)
def test_due(line: str, zone: str, since: str, now: str, expected: list[str]) -> None:
    assert due(Cron(line), ZoneInfo(zone), utc(since), utc(now)) == [utc(text) for text in expected]


@cache
def transitions(zone: ZoneInfo) -> list[datetime]:
    """Every instant at which the zone's offset changes, to the second."""
    found = []
    day = FIRST
    while day < LAST:
        before, after = day, day + timedelta(days=1)
        if before.astimezone(zone).utcoffset() != after.astimezone(zone).utcoffset():
            while after - before > timedelta(seconds=1):
                middle = (before + (after - before) / 2).replace(microsecond=0)
                changed = middle.astimezone(zone).utcoffset() != day.astimezone(zone).utcoffset()
                before, after = (before, middle) if changed else (middle, after)
            found.append(after)
        day += timedelta(days=1)
    return found


def shown(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def watched(zone: ZoneInfo, since: datetime, now: datetime) -> list[tuple[datetime, datetime, datetime]]:
    """(instant, after, until) for each minute at which a clock shows a time for the first time.

    `after < time <= until` are the times that it shows or has just passed. Found by looking at the clock
    minute by minute.
    """
    seen, found, instant = shown(since, zone), [], since + MINUTE
    while instant <= now:
        showing = shown(instant, zone)
        if showing > seen:
            found.append((instant, seen, showing))
            seen = showing
        instant += MINUTE
    return found


def fires(
    watch: list[tuple[datetime, datetime, datetime]], minutes: set[int], hours: set[int]
) -> list[datetime]:
    """When a schedule fires whose times were looked for on the watched clock."""
    found = []
    for instant, after, until in watch:
        times = (until - k * MINUTE for k in range(int((until - after) / MINUTE)))
        if any(time.minute in minutes and time.hour in hours for time in times):
            found.append(instant)
    return found


def lines_around(changed: datetime, zone: ZoneInfo) -> Iterator[tuple[str, set[int], set[int]]]:
    """Cron lines that a change of clocks meets, with what they mean."""
    before, after = shown(changed - MINUTE, zone), shown(changed, zone)
    middle = before + (after - before) / 2
    for time in (before, before + MINUTE, middle, after, after + MINUTE):
        yield f"{time.minute} {time.hour} * * *", {time.minute}, {time.hour}
    yield "*/15 * * * *", {0, 15, 30, 45}, set(range(24))
    yield "7 * * * *", {7}, set(range(24))
    yield "0,59 0-3,23 * * *", {0, 59}, {0, 1, 2, 3, 23}


@pytest.mark.parametrize("name", ZONES)
def test_at_every_change_of_clocks_each_schedule_fires_the_right_number_of_times(name: str) -> None:
    zone = find_zone(name)
    for changed in transitions(zone):
        since, now = changed - WINDOW, changed + WINDOW
        watch = watched(zone, since, now)
        for line, minutes, hours in lines_around(changed, zone):
            assert due(Cron(line), zone, since, now) == fires(watch, minutes, hours), (line, changed)


def test_the_zones_change_clocks_and_a_daily_schedule_fires_each_day_once() -> None:
    assert sum(len(transitions(find_zone(name))) for name in ZONES) > 400
    for name in ZONES:
        zone = find_zone(name)
        days = [shown(instant, zone).date() for instant in due(Cron("30 2 * * *"), zone, *THREE_YEARS)]
        assert days == [days[0] + k * timedelta(days=1) for k in range(len(days))]
        assert len(days) >= 3 * 365


near_a_change = st.sampled_from(ZONES).flatmap(
    lambda name: st.tuples(
        st.just(find_zone(name)), st.sampled_from(transitions(find_zone(name)) or [utc("2026-03-29 01:00")])
    )
)
lines = st.builds(
    lambda minute, hour: Cron(f"{minute} {hour} * * *"),
    st.sampled_from(["*/7", "0", "30", "5,50"]),
    st.sampled_from(["*", "*/2", "1-3", "0"]),
)


@given(near_a_change, lines, st.lists(st.integers(-90_000, 90_000), min_size=2, max_size=6))
@settings(max_examples=80, deadline=None)
def test_parts_of_a_time_have_together_what_the_whole_has(
    near: tuple[ZoneInfo, datetime], line: Cron, cuts_s: list[int]
) -> None:
    """Whenever and however often one ticks, each instant is due at one tick."""
    zone, changed = near
    cuts = sorted(changed + timedelta(seconds=cut) for cut in cuts_s)
    whole = due(line, zone, cuts[0], cuts[-1])
    assert [instant for a, b in pairwise(cuts) for instant in due(line, zone, a, b)] == whole
    assert whole == sorted(set(whole))
    assert next_instants(line, zone, cuts[0], len(whole)) == whole


def test_a_later_local_time_never_comes_first() -> None:
    for name in ZONES:
        zone = find_zone(name)
        for changed in transitions(zone)[:6]:
            local = shown(changed, zone) - 3 * HOUR
            instants = [instant_of(local + k * MINUTE, zone) for k in range(6 * 60)]
            assert instants == sorted(instants)


def test_an_endless_line_is_not_listed_whole() -> None:
    assert next(instants_after(Cron("* * * * *"), find_zone("UTC"), FIRST)) == FIRST + MINUTE
