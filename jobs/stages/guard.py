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
    row: int | None
    num_inputs: int
    since: float
    memory_before: int


class Guard:
    """Ends this process when what it works on exceeds its bounds.

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
        self._watched: _Watched | None = None
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def on(self, row: int | None, *, num_inputs: int = 1) -> Iterator[None]:
        """Watch the work on an input, or on several at once (`row` None), until the block ends."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="veedor-guard", daemon=True)
            self._thread.start()
        self._watched = _Watched(row, num_inputs, time.monotonic(), resident_bytes())
        signal.setitimer(signal.ITIMER_REAL, self._bounds.max_seconds * num_inputs * 1.25 + KERNEL_GRACE_S)
        try:
            yield
        finally:
            self._watched = None
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _watch(self) -> None:
        while True:
            time.sleep(POLL_S)
            watched = self._watched
            if watched is None:
                continue
            reason = self._exceeded(watched)
            if reason is None or self._watched is not watched:
                continue
            if watched.row is not None and self._record:
                with contextlib.suppress(Exception):  # unrecorded, the next attempt finds it again
                    self._record(watched.row, reason)
            self._end()

    def _exceeded(self, watched: _Watched) -> Reason | None:
        if time.monotonic() - watched.since > self._bounds.max_seconds * watched.num_inputs:
            return "too_slow"
        if resident_bytes() - watched.memory_before > self._bounds.max_memory * watched.num_inputs:
            return "too_much_memory"
        return None


def resident_bytes() -> int:
    """Memory of this process that is in RAM; 0 where the system does not say."""
    try:
        return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _end_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
