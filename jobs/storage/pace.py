"""How fast one process asks a store: within a rate, and slower while the store says so."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from threading import Lock

FIRST_GAP_S = 0.01
LONGEST_GAP_S = 1.0
SLOWER, FASTER = 1.5, 0.9
SETTLING_S = 0.25


class Pace:
    """Spaces requests evenly, so that no second holds more than `max_per_s` of them (and one).

    An answer that asks to slow down widens the gaps, at most once in a quarter of a second: requests that
    were under way together are refused together. Each answer without one narrows them again.
    """

    def __init__(
        self,
        max_per_s: float | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._least_s = 1.0 / max_per_s if max_per_s else 0.0
        self.gap_s = self._least_s
        self._next = self._slowed = float("-inf")
        self._clock, self._sleep = clock, sleep
        self._lock = Lock()

    def wait(self) -> None:
        """Return when the next request may be made."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + self.gap_s
        if turn > now:
            self._sleep(turn - now)

    def slow_down(self) -> None:
        """Note that the store asked for fewer requests."""
        with self._lock:
            now = self._clock()
            if now - self._slowed >= SETTLING_S:
                self._slowed = now
                wider_s = min(LONGEST_GAP_S, max(FIRST_GAP_S, SLOWER * self.gap_s))
                self.gap_s = max(self._least_s, wider_s)

    def speed_up(self) -> None:
        """Note a request that the store took."""
        with self._lock:
            narrower_s = FASTER * self.gap_s
            self.gap_s = max(self._least_s, narrower_s if narrower_s >= FIRST_GAP_S / 2 else 0.0)


@cache
def process_pace(max_per_s: float | None) -> Pace:
    """The pace that all stores of this process share."""
    return Pace(max_per_s)
