"""The batch size, found by measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

GOOD_ENOUGH = 0.95
DEFAULT_BUDGET_S = 2.0
MIN_TIMED_S = 0.1


def choose_batch_size(rates: dict[int, float]) -> int:
    """The smallest batch whose rate is within 5 % of the best. `rates`: images/s by batch size."""
    best = max(rates.values())
    return min(size for size, rate in rates.items() if rate >= GOOD_ENOUGH * best)


def measure_rates(
    run: Callable[[int], None],
    sizes: Iterable[int],
    *,
    budget_s: float = DEFAULT_BUDGET_S,
    clock: Callable[[], float] = time.perf_counter,
    out_of_memory: type[Exception] | tuple[type[Exception], ...] = MemoryError,
) -> dict[int, float]:
    """Time `run(batch_size)` for growing sizes until the budget, the memory or the gain ends.

    Each size runs once to warm up, then for a tenth of a second or once; the first always runs.
    """
    rates: dict[int, float] = {}
    started = clock()
    for size in sizes:
        try:
            run(size)
            rates[size] = _rate(run, size, clock)
        except out_of_memory:
            if not rates:
                raise
            break
        spent_s = clock() - started
        # The next size costs about twice as much as this one did.
        if spent_s * 3 > budget_s or _gains_nothing(list(rates.values())):
            break
    return rates


def _gains_nothing(rates: list[float]) -> bool:
    """Whether the last two sizes were within 5 % of an earlier one, or the last far behind it."""
    before, last = rates[:-2], rates[-2:]
    return rates[-1] < 0.8 * max(rates) or (bool(before) and max(last) * GOOD_ENOUGH <= max(before))


def _rate(run: Callable[[int], None], size: int, clock: Callable[[], float]) -> float:
    started, images = clock(), 0
    while not images or clock() - started < MIN_TIMED_S:
        run(size)
        images += size
    return images / max(clock() - started, 1e-9)
