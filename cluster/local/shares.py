"""How a local cluster's nodes share the machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cluster.cluster_spec import MIN_OBJECT_STORE_BYTES, LocalClusterSpec
from cvcore.errors import SpecError

MEMORY_FRACTION = 0.3
SHARED_MEMORY_FRACTION = 0.8
MAX_OBJECT_STORE_BYTES = 10 * 2**30
SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Machine:
    """What there is to share: GPUs by the names that CUDA knows them by."""

    num_cpus: int
    gpus: tuple[str, ...]
    memory_bytes: int
    shared_memory_bytes: int


@dataclass(frozen=True)
class Shares:
    """What each worker declares, and the object store of each node.

    `gpus_here`: the machine's; each worker has its own of them, unless more are declared.
    """

    cpus: float
    gpus: int
    object_store_bytes: int
    gpus_here: tuple[str, ...]
    num_workers: int

    @property
    def logical(self) -> bool:
        """Whether more GPUs are declared than there are."""
        return self.gpus * self.num_workers > len(self.gpus_here)

    def devices(self, worker: int) -> tuple[str, ...] | None:
        """The GPUs of a worker, numbered from 0; None where they are logical."""
        if self.logical:
            return None
        return self.gpus_here[worker * self.gpus : (worker + 1) * self.gpus]


def share_machine(spec: LocalClusterSpec) -> Shares:
    """Fill in what a spec leaves open, from this machine."""
    return share(spec, this_machine())


def share(spec: LocalClusterSpec, machine: Machine) -> Shares:
    """Fill in what a spec leaves open.

    Raises:
        SpecError: if object stores for so many nodes do not fit into memory.
    """
    nodes = spec.workers + 1
    room = min(machine.memory_bytes * MEMORY_FRACTION, machine.shared_memory_bytes * SHARED_MEMORY_FRACTION)
    store = spec.object_store_bytes or int(min(MAX_OBJECT_STORE_BYTES, room / nodes))
    if store < MIN_OBJECT_STORE_BYTES or store * nodes > machine.shared_memory_bytes:
        raise SpecError(
            f"object stores of {nodes} nodes do not fit into {SHARED_MEMORY}: it has "
            f"{machine.shared_memory_bytes / 2**20:,.0f} MiB free, each takes {store / 2**20:,.0f} MiB (at "
            f"least {MIN_OBJECT_STORE_BYTES / 2**20:.0f}). Ask for fewer workers, or make it larger (of a "
            "container, --shm-size)"
        )
    cpus = spec.cpus if spec.cpus is not None else float(max(1, machine.num_cpus // spec.workers))
    gpus = spec.gpus if spec.gpus is not None else len(machine.gpus) // spec.workers
    return Shares(cpus, gpus, store, machine.gpus, spec.workers)


def this_machine() -> Machine:
    """What this machine has, as far as this process may use it."""
    shared = os.statvfs(SHARED_MEMORY)
    return Machine(
        num_cpus=len(os.sched_getaffinity(0)),
        gpus=_gpus(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        shared_memory_bytes=shared.f_bavail * shared.f_frsize,
    )


def _gpus() -> tuple[str, ...]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(name.strip() for name in visible.split(",") if name.strip())
    from ray._private.accelerators import get_accelerator_manager_for_resource

    manager = get_accelerator_manager_for_resource("GPU")
    return tuple(str(index) for index in range(manager.get_current_node_num_accelerators()))
