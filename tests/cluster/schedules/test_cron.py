"""What is said of cron lines and time zones that are none."""

from __future__ import annotations

import pytest

from cluster.schedules.cron import Cron
from cluster.schedules.times import parse_instant
from cluster.schedules.zones import find_zone
from cvcore.errors import SpecError


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param("61 * * * *", ["'61' is no minute", "0 to 59"], id="minute"),
        pytest.param("0 24 * * *", ["'24' is no hour", "0 to 23"], id="hour"),
        pytest.param("0 2 0 * *", ["'0' is no day of month", "1 to 31"], id="day"),
        pytest.param("0 2 * 13 *", ["'13' is no month", "JAN to DEC"], id="month"),
        pytest.param("0 2 * * mno", ["'mno' is no day of week", "SUN to SAT"], id="weekday"),
        pytest.param("5-1 * * * *", ["'5-1' is no minute"], id="backwards"),
        pytest.param("*/0 * * * *", ["'*/0' is no minute"], id="no step"),
        pytest.param("0 2 30 2 *", ["never comes"], id="30 February"),
        pytest.param("0 0 31 2,4 *", ["never comes"], id="31 April"),
        pytest.param("* * */20 * 1L", ["never comes"], id="no such last Monday"),
        pytest.param("@daily", ["has 1 field, not the five", "'0 2 * * *' is every day"], id="nickname"),
        pytest.param("0 0 2 * * *", ["has 6 fields, not the five"], id="seconds"),
        pytest.param("", ["has 0 fields"], id="empty"),
        pytest.param("9" * 9000 + " * * * *", ["has 5 fields"], id="endless"),
    ],
)
def test_a_wrong_line_names_the_field_the_value_and_what_is_allowed(line: str, words: list[str]) -> None:
    with pytest.raises(SpecError) as error:
        Cron(line)
    for word in words:
        assert word in str(error.value)
    assert len(str(error.value)) < 800


def test_a_line_is_said_in_words() -> None:
    assert Cron("0 2 * * 1-5").in_words() == "At 02:00 on Monday through Friday"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Europe/Madird", "'Europe/Madrid'"),
        ("madrid", "'Europe/Madrid'"),
        ("new york", "'America/New_York'"),
        ("europe/berlín", "'Europe/Berlin'"),
    ],
)
def test_an_unknown_zone_is_said_with_near_ones(name: str, near: str) -> None:
    with pytest.raises(SpecError, match="there is no time zone") as error:
        find_zone(name)
    assert f"Did you mean {near}" in str(error.value)


@pytest.mark.parametrize(
    "name", ["", "/", "../../etc/passwd", "Europe", "localtime", "right/UTC", "x" * 5000]
)
def test_what_is_no_name_of_the_database_is_no_zone(name: str) -> None:
    with pytest.raises(SpecError, match="there is no time zone"):
        find_zone(name)


@pytest.mark.parametrize(
    ("text", "end", "expected"),
    [
        ("2026-11-29", False, "2026-11-28T23:00:00+00:00"),
        ("2026-11-29", True, "2026-11-29T22:59:00+00:00"),
        ("2026-11-29T02:00", False, "2026-11-29T01:00:00+00:00"),
        ("2026-11-29T02:00+05:00", False, "2026-11-28T21:00:00+00:00"),
        ("2026-03-29T02:30", False, "2026-03-29T01:00:00+00:00"),
    ],
)
def test_times_are_read_in_the_schedules_zone(text: str, end: bool, expected: str) -> None:
    assert parse_instant(text, find_zone("Europe/Madrid"), option="--from", end=end).isoformat() == expected


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "20:00", "2026-11-29T25:00", ""])
def test_what_is_no_time_is_said(text: str) -> None:
    with pytest.raises(SpecError, match=r"--from .* is no date or time: write 2026-11-29"):
        parse_instant(text, find_zone("UTC"), option="--from")
