"""Whether this machine has room for Ray: disk to spill to, shared memory, open files."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cluster.doctor.finding import Finding, ok, problem, warning

AREA: Final = "machine"
SHARED_MEMORY: Final = Path("/dev/shm")
RAYS_LIMIT: Final = 0.95
"""Of a disk: what is fuller is not spilled to (`RAY_local_fs_capacity_threshold`)."""
MIN_DISK_BYTES: Final = 10 * 2**30
MIN_SHARED_BYTES: Final = 2 * 2**30
"""`resources.max_bytes_in_flight` of a spec that does not say otherwise."""
MIN_MEMORY_BYTES: Final = 4 * 2**30
MIN_FILES: Final = 8192


@dataclass(frozen=True)
class MachineFacts:
    """Bytes, and counts.

    Attributes:
        disk_free, disk_total: where Ray puts its files.
        shared: free of `/dev/shm`; None where there is none.
        memory: of the machine.
        files: how many a process may open.
        files_most: up to which a process may raise that itself.
    """

    temp: str
    disk_free: int
    disk_total: int
    shared: int | None
    memory: int
    files: int
    files_most: int


def check_machine() -> Iterator[Finding]:
    """Look at this machine."""
    return judge_machine(machine_facts())


def judge_machine(facts: MachineFacts) -> Iterator[Finding]:
    """What the facts mean for jobs."""
    yield _disk(facts)
    if facts.shared is not None:
        yield _shared(facts.shared)
    if facts.memory < MIN_MEMORY_BYTES:
        yield warning(
            AREA,
            f"the machine has {_gib(facts.memory)} of memory",
            "give it 4 GiB, or ask for less: resources.actors: 1, limits.max_pixels",
        )
    else:
        yield ok(AREA, f"{_gib(facts.memory)} of memory", memory_bytes=facts.memory)
    if facts.files_most < MIN_FILES:
        yield warning(
            AREA,
            f"a process may open {facts.files_most:,} files",
            f"raise that to {MIN_FILES:,} or more (ulimit -Hn; of a service, LimitNOFILE)",
        )


def _disk(facts: MachineFacts) -> Finding:
    free = f"{_gib(facts.disk_free)} of {_gib(facts.disk_total)} are free at {facts.temp}"
    if facts.disk_free < (1 - RAYS_LIMIT) * facts.disk_total:
        return problem(
            AREA,
            f"{free}: on a disk as full as this Ray does not spill, and jobs stop",
            "make room, or name another folder with TMPDIR",
            disk_free_bytes=facts.disk_free,
        )
    if facts.disk_free < MIN_DISK_BYTES:
        return warning(
            AREA,
            f"{free}",
            "make room: what does not fit in memory is spilled there",
            disk_free_bytes=facts.disk_free,
        )
    return ok(AREA, free, disk_free_bytes=facts.disk_free)


def _shared(free: int) -> Finding:
    if free < MIN_SHARED_BYTES:
        return warning(
            AREA,
            f"{_gib(free)} of shared memory are free: Ray's objects go to disk, and jobs crawl",
            "make it larger (of a container --shm-size=4g; in Kubernetes a memory emptyDir, as veedor "
            "manifest makes)",
            shared_free_bytes=free,
        )
    return ok(AREA, f"{_gib(free)} of shared memory are free", shared_free_bytes=free)


def machine_facts() -> MachineFacts:
    temp = tempfile.gettempdir()
    disk = shutil.disk_usage(temp)
    shared = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else None
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MachineFacts(
        temp=temp,
        disk_free=disk.free,
        disk_total=disk.total,
        shared=shared,
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        files=files,
        files_most=2**63 - 1 if most == resource.RLIM_INFINITY else most,
    )


def _gib(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB"
