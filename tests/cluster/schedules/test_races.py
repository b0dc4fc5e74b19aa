"""Processes that tick at once, are killed or frozen at any store call, and whose clocks are days off."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import timedelta

import pytest

from cluster.schedules import tick as module
from cluster.schedules.decide import Timing
from tests.cluster.schedules.simulated import (
    START,
    Deed,
    Moment,
    Process,
    SimScan,
    World,
    keys_of,
    no_thread,
    put_schedule,
    records,
    scanned,
    strike_at,
    ticking,
    wrong_with,
)

DAY_S = 86400.0
BEYOND_LEASE_S = Timing().lease_s + 1
NUM_TICKS = 200
MANY = 10**6


@pytest.fixture(autouse=True)
def signs_of_life_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "signs_of_life", no_thread)


def world_with_a_due_tick(seed: int = 0) -> World:
    world = World(seed)
    put_schedule(world, "*/10 * * * *", max_attempts=MANY)
    world.pass_by(601)
    world.arrive(3)
    return world


def num_calls() -> int:
    process = world_with_a_due_tick().start(ticking(SimScan)).finish()
    assert process.tally is not None
    assert [record.outcome for _, record in process.tally.records] == ["finished"]
    return process.calls


def finish_later(world: World) -> None:
    """Another process ticks after the lease, to the end."""
    for _ in range(4):
        world.pass_by(BEYOND_LEASE_S)
        world.start(ticking(SimScan), skew_s=-DAY_S).finish()


def check(world: World) -> None:
    assert wrong_with(world, START + timedelta(seconds=601)) == []
    assert {record.outcome for record in records(world)} == {"finished"}
    assert sorted(scanned(world)) == sorted(keys_of(world.arrived)), "each object is scanned once"


@pytest.mark.parametrize("deed", ["kill", "freeze"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_process_struck_at_any_call_leaves_what_another_finishes(moment: Moment, deed: Deed) -> None:
    calls = num_calls()
    assert calls > 20
    for number in range(1, calls + 1):
        world = world_with_a_due_tick(number)
        struck = world.start(ticking(SimScan), strike_at(number, moment, deed), skew_s=DAY_S).finish()
        assert struck.dead or struck.frozen
        finish_later(world)
        if deed == "freeze":
            struck.frozen = False
            struck.finish()  # it wakes up, days behind, and goes on where it was
            finish_later(world)
        check(world)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_of_two_at_once_one_is_struck_at_any_call(moment: Moment) -> None:
    for number, seed in itertools.product(range(1, num_calls() + 1), range(6)):
        world = world_with_a_due_tick(100 * seed + number)
        first = world.start(ticking(SimScan), strike_at(number, moment), skew_s=DAY_S)
        second = world.start(ticking(SimScan), skew_s=-DAY_S)
        while live := [process for process in (first, second) if not process.over]:
            world.dice.choice(live).go_on()
            world.pass_by(world.dice.choice([0, 1, 90]))
        finish_later(world)
        check(world)


@pytest.mark.parametrize("each", [False, True], ids=["missed ones share a run", "a run for each tick"])
def test_two_slots_race_through_200_ticks_being_killed_at_random_calls(each: bool) -> None:
    world = World(7 + each)
    put_schedule(world, "*/2 * * * *", each=each, max_attempts=MANY)
    dice = world.dice
    until = START + timedelta(minutes=2 * NUM_TICKS)

    def scan(process: Process) -> SimScan:
        return SimScan(process, lambda: dice.choice([0, 1, 5, 2 * BEYOND_LEASE_S * (dice.random() < 0.05)]))

    def strike(number: int, name: str, moment: Moment) -> Deed | None:
        del number
        often = (name, moment) not in world.struck
        return "kill" if world.now < until and dice.random() < (0.5 if often else 0.01) else None

    def start() -> Process:
        return world.start(ticking(scan), strike, skew_s=dice.choice([-DAY_S, 0, DAY_S]))

    slots = [start(), start()]
    while world.now < until:
        slot = dice.randrange(2)
        if slots[slot].over:
            world.pass_by(dice.randint(0, 20))
            if dice.random() < 0.04 and world.now < until:
                world.arrive(dice.randint(1, 3))
            slots[slot] = start()
        slots[slot].go_on()
        world.pass_by(dice.random())
    for slot in slots:
        slot.finish()
    finish_later(world)
    assert len(world.schedule.due(START, until)) == NUM_TICKS
    assert wrong_with(world, until) == []
    assert {record.outcome for record in records(world)} == {"finished"}
    assert sorted(scanned(world)) == sorted(keys_of(world.arrived)), "each object is scanned once"
    assert Counter(process.dead for process in world.processes)[True] > NUM_TICKS / 4
    assert world.struck == set(itertools.product(world.called, ["before", "after"])), "every kind of call"
