"""The measured batch size, with a clock made by the test."""

from __future__ import annotations

import pytest

from jobs.stages.batching import choose_batch_size, measure_rates


class Machine:
    """Runs batches on a clock of its own: a fixed cost a batch and a cost an image, in seconds."""

    def __init__(self, *, batch_s: float, image_s: float, memory: int = 10**9) -> None:
        self.now = 0.0
        self._cost = batch_s, image_s
        self._memory = memory

    def run(self, size: int) -> None:
        if size > self._memory:
            raise MemoryError
        self.now += self._cost[0] + self._cost[1] * size


@pytest.mark.parametrize(
    ("rates", "chosen"),
    [
        pytest.param({1: 10.0, 2: 10.1, 4: 10.2}, 1, id="flat: the smallest"),
        pytest.param({1: 10.0, 2: 18.0, 4: 30.0, 8: 31.0}, 4, id="within 5 % of the best"),
        pytest.param({1: 10.0, 2: 20.0, 4: 15.0}, 2, id="a peak"),
        pytest.param({1: 3.0}, 1, id="one size"),
    ],
)
def test_the_smallest_good_batch_is_chosen(rates: dict[int, float], chosen: int) -> None:
    assert choose_batch_size(rates) == chosen


def test_a_machine_with_a_cost_a_batch_gets_large_batches() -> None:
    machine = Machine(batch_s=0.01, image_s=0.0001)
    rates = measure_rates(machine.run, (1, 2, 4, 8, 16, 32, 64), clock=lambda: machine.now)
    assert rates[8] == pytest.approx(8 / 0.0108)
    assert choose_batch_size(rates) >= 32


def test_measuring_keeps_to_its_budget_but_measures_once() -> None:
    machine = Machine(batch_s=0.0, image_s=4.0)
    rates = measure_rates(machine.run, (1, 2, 4, 8), clock=lambda: machine.now, budget_s=3.0)
    assert rates == {1: pytest.approx(0.25)}


def test_measuring_stops_where_memory_ends() -> None:
    machine = Machine(batch_s=0.01, image_s=0.0001, memory=8)
    assert list(measure_rates(machine.run, (1, 2, 4, 8, 16), clock=lambda: machine.now)) == [1, 2, 4, 8]
    with pytest.raises(MemoryError):
        measure_rates(Machine(batch_s=0, image_s=1, memory=0).run, (1,))


def test_measuring_stops_where_larger_batches_gain_nothing() -> None:
    machine = Machine(batch_s=0.0, image_s=0.001)
    assert list(measure_rates(machine.run, (1, 2, 4, 8, 16), clock=lambda: machine.now)) == [1, 2, 4]
