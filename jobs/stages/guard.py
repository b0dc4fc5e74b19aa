"""Bounds on the time and memory that one input may take.

Decoders and networks cannot be interrupted from within, so what exceeds its bounds ends with its process; the
retry finds the input set aside. Two watchers share the work: a thread that knows which input it is and can
record it, and a kernel timer for native code that never lets a thread run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jobs.set_aside import Reason

POLL_S = 0.1
KERNEL_GRACE_S = 5.0
_STATM = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True)
class InputBounds:
    """What one input may take: seconds of work, and bytes by which the process may grow meanwhile."""

    max_seconds: float
    max_memory: int


@dataclass(frozen=True, slots=True)
class _Watched:
    guard: Guard
    row: int | None
    seconds: float
    memory: int


class Guard:
    """Ends this process when what it works on exceeds its bounds. One piece of work at a time in a process.

    Args:
        record: called with the plan's row and the reason before the end, where one input is to blame.
        end: ends the process; does not return.
    """

    def __init__(
        self,
        bounds: InputBounds,
        record: Callable[[int, Reason], None] | None = None,
        *,
        end: Callable[[], None] | None = None,
    ) -> None:
        self._bounds = bounds
        self._record = record
        self._end = end or _end_process

    @contextlib.contextmanager
    def on(self, row: int | None, *, num_inputs: int = 1, num_steps: int = 1) -> Iterator[None]:
        """Watch the work on an input, or on several at once (`row` None), until the block ends.

        Of an input that is worked on in `num_steps`, such as tiles, each may take an input's time.
        """
        seconds = self._bounds.max_seconds * num_inputs * num_steps
        memory = resident_bytes() + self._bounds.max_memory * num_inputs
        _watcher().now = _Watched(self, row, seconds, memory)
        signal.setitimer(signal.ITIMER_REAL, seconds * 1.25 + KERNEL_GRACE_S)
        try:
            yield
        finally:
            _watcher().now = None
            signal.setitimer(signal.ITIMER_REAL, 0)

    def exceeded(self, row: int | None, reason: Reason) -> None:
        """Record the input and end the process."""
        if row is not None and self._record:
            with contextlib.suppress(Exception):  # unrecorded, the next attempt finds it again
                self._record(row, reason)
        self._end()


class _Watcher:
    """The one thread of a process that looks at what is being worked on."""

    def __init__(self) -> None:
        self.now: _Watched | None = None
        threading.Thread(target=self._watch, name="veedor-guard", daemon=True).start()

    def _watch(self) -> None:
        before, worked_s = self.now, 0.0
        while True:
            time.sleep(POLL_S)
            watched = self.now
            # Counted in polls, not by the clock: a process that was stopped has not worked meanwhile.
            worked_s = worked_s + POLL_S if watched is before else 0.0
            before = watched
            reason = watched and _reason(watched, worked_s)
            if watched and reason and self.now is watched:
                self.now = None
                watched.guard.exceeded(watched.row, reason)


@cache
def _watcher() -> _Watcher:
    return _Watcher()


def _reason(watched: _Watched, worked_s: float) -> Reason | None:
    if worked_s > watched.seconds:
        return "too_slow"
    return "too_much_memory" if resident_bytes() > watched.memory else None


def resident_bytes() -> int:
    """Memory of this process that is in RAM; 0 where the system does not say."""
    try:
        return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _end_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
