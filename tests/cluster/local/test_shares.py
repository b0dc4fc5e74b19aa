"""How the machine is shared among the nodes of a local cluster."""

from __future__ import annotations

import pytest

from cluster.cluster_spec import LocalClusterSpec
from cluster.local.shares import Machine, Shares, share
from cvcore.errors import SpecError

GIB = 2**30
PLAIN = Machine(num_cpus=8, gpus=(), memory_bytes=64 * GIB, shared_memory_bytes=32 * GIB)
WITH_GPUS = Machine(
    num_cpus=32, gpus=("0", "1", "2", "3"), memory_bytes=64 * GIB, shared_memory_bytes=32 * GIB
)


@pytest.mark.parametrize(
    ("asked", "machine", "cpus", "gpus"),
    [
        pytest.param({}, PLAIN, 4, 0, id="all is shared evenly"),
        pytest.param({"workers": 3}, PLAIN, 2, 0, id="rest is left"),
        pytest.param({"workers": 16}, PLAIN, 1, 0, id="never none"),
        pytest.param({"cpus": 0.5}, PLAIN, 0.5, 0, id="as declared"),
        pytest.param({}, WITH_GPUS, 16, 2, id="GPUs too"),
        pytest.param({"gpus": 0}, WITH_GPUS, 16, 0, id="none wanted"),
    ],
)
def test_what_is_left_open_comes_from_the_machine(
    asked: dict[str, float], machine: Machine, cpus: float, gpus: int
) -> None:
    shares = share(LocalClusterSpec.model_validate(asked), machine)
    assert (shares.cpus, shares.gpus) == (cpus, gpus)


def test_each_worker_has_gpus_of_its_own() -> None:
    shares = share(LocalClusterSpec(workers=2, gpus=2), WITH_GPUS)
    assert [shares.devices(worker) for worker in range(2)] == [("0", "1"), ("2", "3")]
    assert not shares.logical


def test_more_gpus_than_there_are_are_logical_for_all() -> None:
    shares = share(LocalClusterSpec(workers=2, gpus=1), PLAIN)
    assert shares.logical
    assert [shares.devices(worker) for worker in range(2)] == [None, None]


def test_object_stores_fit_into_shared_memory_together() -> None:
    small = Machine(4, (), 64 * GIB, 1 * GIB)
    shares = share(LocalClusterSpec(workers=3), small)
    assert 4 * shares.object_store_bytes <= 0.8 * GIB
    with pytest.raises(SpecError, match=r"do not fit into /dev/shm: .* --shm-size"):
        share(LocalClusterSpec(workers=3), Machine(4, (), 64 * GIB, 64 * 2**20))
    with pytest.raises(SpecError, match="do not fit"):
        share(LocalClusterSpec(workers=3, object_store_bytes=GIB), small)


def test_devices_of_nodes_without_gpus_hide_those_of_the_machine() -> None:
    assert Shares(1, 0, GIB, ("0",), 2).devices(0) == ()
