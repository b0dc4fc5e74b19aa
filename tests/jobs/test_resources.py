"""Sharing a cluster among the stages, as a table."""

from __future__ import annotations

import pytest

from cvcore.errors import SpecError
from jobs.resources import (
    ClusterShape,
    NodeShape,
    count_fitting,
    count_store_users,
    plan_resources,
)
from jobs.spec import ResourcesSection


def shape(cpus: float, gpus: float = 0.0, *, nodes: int = 1) -> ClusterShape:
    """A cluster of equal nodes."""
    return ClusterShape((NodeShape(cpus, gpus),) * nodes)


@pytest.mark.parametrize(
    ("asked", "cluster", "actors", "threads"),
    [
        pytest.param({}, shape(1), 1, 1, id="one core"),
        pytest.param({}, shape(2), 2, 1, id="two cores"),
        pytest.param({}, shape(16), 16, 1, id="sixteen cores"),
        pytest.param({}, shape(4, nodes=3), 12, 1, id="three nodes"),
        pytest.param({"actors": 1}, shape(4), 1, 4, id="one actor takes the threads"),
        pytest.param({"actors": 2, "cpus_per_actor": 3}, shape(8), 2, 3, id="threads as asked"),
        pytest.param({}, shape(16, 1), 1, 1, id="one GPU"),
        pytest.param({}, shape(64, 8), 8, 1, id="eight GPUs"),
        pytest.param({"gpus_per_actor": 0.5}, shape(16, 2), 4, 1, id="two actors a GPU"),
        pytest.param({"gpus_per_actor": 0}, shape(4, 1), 4, 1, id="CPU though there is a GPU"),
    ],
)
def test_actors_and_threads(
    asked: dict[str, float], cluster: ClusterShape, actors: int, threads: int
) -> None:
    plan = plan_resources(ResourcesSection.model_validate(asked), cluster)
    assert (plan.actors, plan.threads_per_actor) == (actors, threads)
    beside = plan.publish_cpus + (0 if plan.fused else plan.decode_cpus)
    assert plan.actors * plan.cpus_per_actor + beside <= cluster.num_cpus, "a stage would wait for ever"
    assert plan.actors * plan.gpus_per_actor <= cluster.num_gpus
    assert plan.fused == (plan.gpus_per_actor == 0)


@pytest.mark.parametrize(
    ("asked", "cluster", "message"),
    [
        pytest.param({"actors": 9}, shape(2), "room for 2 such actors", id="more actors than fit"),
        pytest.param({"gpus_per_actor": 1}, shape(8), "the cluster has 0 GPUs", id="no GPU"),
        pytest.param({"cpus_per_actor": 9}, shape(4), "room for 0 such actors", id="too big an actor"),
        pytest.param({"actors": 3, "gpus_per_actor": 1}, shape(64, 2), "room for 2", id="GPUs bind"),
        pytest.param({"actors": 3, "gpus_per_actor": 0.6}, shape(64, 2), "room for 2", id="fractions"),
    ],
)
def test_more_than_there_is_is_refused_at_once(
    asked: dict[str, float], cluster: ClusterShape, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        plan_resources(ResourcesSection.model_validate(asked), cluster)


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "fitting"),
    [
        pytest.param([(5, 0), (5, 0)], 3, 0, 2, id="an actor lies on one node"),
        pytest.param([(8, 1), (8, 0)], 1, 1, 1, id="GPUs are where they are"),
        pytest.param([(8, 3)], 1, 2, 1, id="an odd GPU stays free"),
        pytest.param([(1, 4), (32, 0)], 1, 1, 1, id="a node short of CPUs"),
        pytest.param([(0.1, 0)], 1, 0, 0, id="nothing fits"),
    ],
)
def test_what_fits_is_counted_node_by_node(
    nodes: list[tuple[float, float]], cpus: float, gpus: float, fitting: int
) -> None:
    cluster = ClusterShape(tuple(NodeShape(*node) for node in nodes))
    assert count_fitting(cluster, cpus=cpus, gpus=gpus, beside=0.25) == fitting


@pytest.mark.parametrize(
    ("cluster", "users"),
    [
        pytest.param(shape(2), 1 + 2 + 2, id="two cores: two actors, half a core for merging"),
        pytest.param(shape(8, 1), 1 + 1 + 28, id="one GPU: seven cores of quarter-core tasks"),
    ],
)
def test_whoever_may_call_the_store_at_once_is_counted(cluster: ClusterShape, users: int) -> None:
    assert count_store_users(plan_resources(ResourcesSection(), cluster), cluster) == users
