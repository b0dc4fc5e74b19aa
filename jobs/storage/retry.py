"""Bounded, jittered repetition of calls that fail for a passing reason."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

GIVE_UP_S = 300.0


def backoff_s(attempts: int, *, base_s: float = 0.1, cap_s: float = 8.0) -> Iterator[float]:
    """Yield the pauses between `attempts` calls: full jitter under an exponential ceiling."""
    for attempt in range(attempts - 1):
        yield random.uniform(0.25, 1.0) * min(cap_s, base_s * 2**attempt)


def call_with_retries(
    call: Callable[[], T],
    *,
    attempts: int,
    passing: Callable[[Exception], bool],
    give_up_s: float = GIVE_UP_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Make `call` until it returns, fails for good (not `passing`), or `attempts` are used up.

    No call begins later than `give_up_s` after the first, however many attempts are left.
    """
    deadline = clock() + give_up_s
    for pause_s in backoff_s(attempts):
        try:
            return call()
        except Exception as error:
            if not passing(error) or clock() + pause_s > deadline:
                raise
        sleep(pause_s)
    return call()
