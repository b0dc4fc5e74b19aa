"""When what waits for a lost node is ended: not before it is clear that it waits in vain, and once."""

from __future__ import annotations

import pytest
import ray

from jobs.lost_nodes import PATIENCE_S, LossWatch, alive_nodes

ALL = frozenset("abc")


def ends(watch: LossWatch, alive: frozenset[str], *moments: float) -> list[float]:
    """The moments at which what waits is ended, when looked at so often."""
    return [now for now in moments if watch.look(alive, now=now)]


@pytest.mark.parametrize(
    ("alive", "published", "moments", "expected"),
    [
        pytest.param(ALL, [1, 2], range(0, 999, 2), [], id="nothing is lost"),
        pytest.param(ALL | {"d"}, [], range(0, 999, 2), [], id="a node more"),
        pytest.param(ALL - {"c"}, [], range(0, 999, 2), [PATIENCE_S], id="lost: once"),
        pytest.param(ALL - {"c"}, [20.0], range(0, 999, 2), [20 + 2 * 20], id="units take 20 s"),
    ],
)
def test_what_waits_is_ended(
    alive: frozenset[str], published: list[float], moments: range, expected: list[float]
) -> None:
    watch = LossWatch(ALL, published_s=0.0)
    for moment in published:
        watch.publish(now=moment)
    assert ends(watch, alive, *moments) == expected


def test_while_others_publish_nothing_is_ended_and_each_loss_counts() -> None:
    watch = LossWatch(ALL, published_s=0.0)
    for now in range(0, 300, 10):
        assert ends(watch, ALL - {"c"}, now) == []
        watch.publish(now=now + 5)
    assert ends(watch, ALL - {"c"}, *range(300, 400, 5)) == [325]
    assert ends(watch, ALL - {"b", "c"}, *range(400, 500, 5)) == [430]


@pytest.mark.usefixtures("ray_cluster")
def test_nodes_are_known_by_their_ids() -> None:
    assert alive_nodes() == {ray.get_runtime_context().get_node_id()}
