"""Processes of this machine, told apart from later ones with the same number. Linux: read from `/proc`."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Process:
    """A process by number and start.

    Attributes:
        pid: its number.
        started: clock ticks from the machine's boot to its start, which no later process of the number has.
    """

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has the number now; None if there is none, or only its exit code is left."""
        found = _stat(pid)
        return None if found is None else found.process

    def is_alive(self) -> bool:
        return Process.of(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Signal it, if it is still there."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


@dataclass(frozen=True, slots=True)
class _Stat:
    process: Process
    parent: int
    session: int


def tree(root: Process) -> frozenset[Process]:
    """A session leader, what belongs to its session, and what those started; empty if it is gone.

    What sets up a session of its own is still a child; what lost its parent is still of the session.
    """
    if not root.is_alive():
        return frozenset()
    stats = list(_all_stats())
    members = {stat.process.pid for stat in stats if stat.session == root.pid} | {root.pid}
    while more := {stat.process.pid for stat in stats if stat.parent in members} - members:
        members |= more
    return frozenset(stat.process for stat in stats if stat.process.pid in members)


def end(processes: Collection[Process], *, first: Collection[Process], grace_s: float) -> None:
    """Ask `first` to end, wait for all of them, and kill what is left after `grace_s`."""
    for each in first:
        each.send(signal.SIGTERM)
    if not wait_until_gone(processes, timeout_s=grace_s):
        for each in processes:
            each.send(signal.SIGKILL)
        wait_until_gone(processes, timeout_s=grace_s)


def wait_until_gone(processes: Collection[Process], *, timeout_s: float) -> bool:
    """Whether all of them ended in time."""
    deadline = time.monotonic() + timeout_s
    left = list(processes)
    while left := [each for each in left if each.is_alive()]:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _all_stats() -> Iterator[_Stat]:
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))) is not None:
            yield stat


def _stat(pid: int) -> _Stat | None:
    """See proc_pid_stat(5): after the name in parentheses come state, parent, group, session, …, start."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    if fields[0] in "ZX":
        return None
    return _Stat(Process(pid, int(fields[19])), parent=int(fields[1]), session=int(fields[3]))
