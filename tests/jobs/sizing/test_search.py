"""The fewest machines that are done in time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cvcore.errors import SpecError
from jobs.sizing.fleet import Fleet, Hazards, NodeType
from jobs.sizing.search import MAX_INPUTS, run_on, size_fleet
from jobs.sizing.workload import StageTimes, Workload

NODE = NodeType(cpus=8, price_per_h=0.5)
TIMES = StageTimes(image_bytes=100e3, request_s=0.02, decode_s=0.005, infer_s=0.02)
WORK = Workload(2_000_000, 320 * 320 * 3, TIMES)


@pytest.mark.parametrize("hazards", [None, Hazards(node_mtbf_h=2.0, straggler=0.02)], ids=["calm", "rough"])
def test_it_is_in_time_and_one_machine_fewer_is_not(hazards: Hazards | None) -> None:
    found = size_fleet(WORK, NODE, deadline_s=3600, hazards=hazards)
    assert found.in_time
    assert found.num_jobs == 1
    assert found == run_on(WORK, found.fleet, hazards=hazards)
    fewer = run_on(WORK, replace(found.fleet, num_nodes=found.fleet.num_nodes - 1), hazards=hazards)
    assert found.wall_s <= 3600 < fewer.wall_s


def test_mishaps_cost_machines() -> None:
    calm = size_fleet(WORK, NODE, deadline_s=3600)
    rough = size_fleet(WORK, NODE, deadline_s=3600, hazards=Hazards(node_mtbf_h=0.5, unit_crash=0.02))
    assert rough.num_nodes > calm.num_nodes


def test_the_cost_is_that_of_all_machines_for_all_the_time() -> None:
    found = size_fleet(WORK, NODE, deadline_s=3600)
    assert found.cost == pytest.approx(found.num_nodes * 0.5 * found.wall_s / 3600)


def test_what_one_driver_cannot_hand_out_becomes_several_jobs() -> None:
    slow = replace(WORK, times=replace(TIMES, driver_s=1.0))  # 7,813 units, one a second
    found = size_fleet(slow, NODE, deadline_s=3600)
    assert found.in_time
    assert (found.at_once, found.in_turn) == (3, 1)
    assert found.num_nodes == 3 * found.fleet.num_nodes


def test_what_one_plan_cannot_hold_becomes_jobs_in_turn() -> None:
    large = replace(WORK, num_images=3 * MAX_INPUTS - 1)
    found = size_fleet(large, replace(NODE, cpus=64), deadline_s=4 * 86_400)
    assert found.in_time
    assert (found.at_once, found.in_turn) == (1, 3)
    assert found.wall_s == pytest.approx(3 * found.outcome.wall_s)
    assert found.outcome == run_on(replace(large, num_images=MAX_INPUTS), found.fleet).outcome


def test_a_store_that_answers_too_little_is_named() -> None:
    found = size_fleet(WORK, NODE, deadline_s=3600, requests_per_s=100.0)
    assert not found.in_time
    assert "100 requests a second" in found.reason


def test_more_machines_than_may_be_is_said() -> None:
    found = size_fleet(WORK, NODE, deadline_s=1200, max_nodes=3)
    assert not found.in_time
    assert "more than 3 machines" in found.reason
    assert found.num_nodes == 3


def test_a_deadline_before_anything_begins_is_said() -> None:
    found = size_fleet(WORK, NODE, deadline_s=14)
    assert not found.in_time
    assert "start-up alone take 35 s" in found.reason


def test_times_go_through_a_file() -> None:
    assert StageTimes.from_json(TIMES.to_json(), name="times.json") == TIMES


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("{", "times.json is no JSON", id="no JSON"),
        pytest.param("[1]", "must hold an object", id="a list"),
        pytest.param('{"decode": 1}', "no time 'decode'. Did you mean", id="unknown"),
        pytest.param('{"decode_s": 1}', "image_bytes", id="missing"),
        pytest.param(
            '{"image_bytes": 1, "request_s": 0, "decode_s": -1, "infer_s": 0}',
            "decode_s must be",
            id="negative",
        ),
    ],
)
def test_a_file_of_something_else_is_refused(text: str, words: str) -> None:
    with pytest.raises(SpecError, match=r"times\.json") as caught:
        StageTimes.from_json(text, name="times.json")
    assert words in str(caught.value)


def test_a_fleet_costs_by_the_hour() -> None:
    assert Fleet(NODE, 4).cost(1800) == pytest.approx(1.0)
