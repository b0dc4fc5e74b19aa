"""The board's pools: their actors end when they are told to, whoever holds on to them."""

from __future__ import annotations

from typing import Any

import pytest
import ray

from jobs.board import Tally


class Member:
    """Takes one of the cluster's two CPUs."""

    def __init__(self, tally: Tally, pool: str) -> None:
        self._tally = tally
        tally.enter(pool)

    def ping(self) -> None:
        self._tally.begin("infer", 0)


def members(tally: Tally, pool: str) -> list[Any]:
    found = [ray.remote(num_cpus=1, max_restarts=2)(Member).remote(tally, pool) for _ in range(2)]
    ray.get([member.ping.remote() for member in found], timeout=120)
    return found


@pytest.mark.usefixtures("ray_cluster")
def test_a_pools_actors_end_and_make_room_though_handles_on_them_are_kept() -> None:
    tally = Tally.start()
    kept = members(tally, "first")
    tally.end_pool("first")
    second = members(tally, "second")
    for member in kept:
        with pytest.raises(ray.exceptions.RayActorError):
            ray.get(member.ping.remote(), timeout=60)
    tally.end_pool("first")
    ray.get([member.ping.remote() for member in second], timeout=60)
    tally.end_pool("second")


@pytest.mark.usefixtures("ray_cluster")
def test_an_actor_that_enters_a_pool_after_its_end_is_left_to_its_owner() -> None:
    tally = Tally.start()
    tally.end_pool("first")
    late = members(tally, "first")
    assert ray.get(tally.board.dismiss.remote("first")) == []
    ray.get([member.ping.remote() for member in late], timeout=60)
