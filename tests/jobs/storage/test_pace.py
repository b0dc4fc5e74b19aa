"""Retries and rates, on a clock made up by the test."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from jobs.storage.pace import LONGEST_GAP_S, Pace
from jobs.storage.retry import backoff_s, call_with_retries


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Flaky:
    """Fails some times, each after a while, then returns."""

    def __init__(self, clock: Clock, failures: float, *, takes_s: float = 0.0) -> None:
        self.calls, self._clock, self._failures, self._takes_s = 0, clock, failures, takes_s

    def __call__(self) -> str:
        self.calls += 1
        self._clock.sleep(self._takes_s)
        if self.calls <= self._failures:
            raise ConnectionError("passing")
        return "done"


def passing(error: Exception) -> bool:
    return isinstance(error, ConnectionError)


def test_pauses_grow_under_a_ceiling_and_differ_between_callers() -> None:
    random.seed(0)
    runs = [list(backoff_s(12)) for _ in range(200)]
    for index in range(11):
        ceiling = min(8.0, 0.1 * 2**index)
        pauses = [run[index] for run in runs]
        assert ceiling / 4 <= min(pauses) < ceiling / 2 < max(pauses) <= ceiling
    assert len({tuple(run) for run in runs}) == 200


@pytest.mark.parametrize(
    ("failures", "attempts", "calls", "returns"),
    [
        pytest.param(0, 8, 1, True, id="at once"),
        pytest.param(7, 8, 8, True, id="with the last attempt"),
        pytest.param(8, 8, 8, False, id="never"),
        pytest.param(1, 1, 1, False, id="one attempt"),
    ],
)
def test_as_many_calls_as_allowed_are_made(failures: int, attempts: int, calls: int, returns: bool) -> None:
    clock = Clock()
    call = Flaky(clock, failures)
    try:
        result = call_with_retries(call, attempts=attempts, passing=passing, clock=clock, sleep=clock.sleep)
        assert (returns, result) == (True, "done")
    except ConnectionError:
        assert not returns
    assert call.calls == calls
    assert clock.now <= 13


def test_no_call_begins_after_the_time_to_give_up() -> None:
    clock = Clock()
    call = Flaky(clock, float("inf"), takes_s=20)
    with pytest.raises(ConnectionError):
        call_with_retries(call, attempts=1000, passing=passing, give_up_s=90, clock=clock, sleep=clock.sleep)
    assert call.calls == 5
    assert clock.now <= 90 + 20


def test_what_will_not_pass_is_not_repeated() -> None:
    calls = []
    with pytest.raises(ValueError):
        call_with_retries(lambda: calls.append(1) or int("x"), attempts=5, passing=passing)
    assert len(calls) == 1


@pytest.mark.parametrize("rate", [0.5, 3.0, 50.0])
def test_no_second_holds_more_requests_than_the_rate(rate: float) -> None:
    clock = Clock()
    pace = Pace(rate, clock=clock, sleep=clock.sleep)
    times = []
    for turn in range(100):
        if turn == 50:
            clock.sleep(30)  # an idle while saves nothing up
        pace.wait()
        times.append(clock.now)
        pace.speed_up()
    assert all(later - earlier >= 1 / rate - 1e-9 for earlier, later in pairwise(times))
    assert times[49] == pytest.approx(49 / rate)


def test_an_unlimited_pace_never_waits() -> None:
    clock = Clock()
    pace = Pace(clock=clock, sleep=clock.sleep)
    for _ in range(1000):
        pace.wait()
        pace.speed_up()
    assert clock.now == 0


def test_a_store_that_asks_for_less_gets_less_and_then_more_again() -> None:
    clock = Clock()
    pace = Pace(clock=clock, sleep=clock.sleep)
    for _ in range(8):
        pace.slow_down()  # refused together: counts once
    assert pace.gap_s == pytest.approx(0.01)
    for _ in range(60):
        clock.sleep(1)
        pace.slow_down()
    assert pace.gap_s == LONGEST_GAP_S
    for _ in range(60):
        pace.speed_up()
    assert pace.gap_s == 0


def test_a_rate_below_the_longest_gap_is_kept() -> None:
    clock = Clock()
    pace = Pace(0.1, clock=clock, sleep=clock.sleep)
    pace.slow_down()
    pace.speed_up()
    assert pace.gap_s == 10
