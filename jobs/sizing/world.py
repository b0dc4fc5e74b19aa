"""What a simulated job runs in: a clock, machines, a driver, a store, and chance."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy

from jobs.sizing.fleet import Fleet, Hazards
from jobs.sizing.workload import Workload

Step = Generator[Any, Any, None]
_POLL_S = 5.0


@dataclass(slots=True)
class Hands:
    """What a worker holds: a unit, and one of the places for units between stages."""

    unit: int | None = None
    has_place: bool = False


class Node:
    """A machine: when its network is free, who works on it, and an event that it is there."""

    def __init__(self, env: simpy.Environment) -> None:
        self.network_free_s = 0.0
        self.workers: list[simpy.Process] = []
        self.back: simpy.Event = env.timeout(0)


Work = Callable[[Node, Hands], Step]


class World:
    """The state of one simulated job, and what any worker may do in it.

    Attributes:
        pending: units that nobody works on.
        busy_s: seconds that each part worked.
        published: when each unit was, seconds.
        places: between decoding and inference; None where one worker does whole units.
    """

    def __init__(
        self, workload: Workload, fleet: Fleet, hazards: Hazards, *, num_units: int, seed: int
    ) -> None:
        self.work, self.times, self.fleet, self.hazards = workload, workload.times, fleet, hazards
        self.env = simpy.Environment()
        self.nodes = [Node(self.env) for _ in range(fleet.num_nodes)]
        self.pending = deque(range(num_units))
        self.busy_s: defaultdict[str, float] = defaultdict(float)
        self.published: list[float] = []
        self.redone = self.lost = 0
        self.places: simpy.Container | None = None
        self._num_units = num_units
        self._done = self.env.event()
        self._driver = simpy.Resource(self.env)
        self._store_free_s = 0.0
        self._random = np.random.default_rng(seed)

    def employ(self, index: int, work: Work) -> None:
        """Have a worker on machine `index`, counted round, do `work` again and again."""
        node = self.nodes[index % len(self.nodes)]
        node.workers.append(self.env.process(self._employed(node, work)))

    def run(self) -> None:
        """Go on until every unit is published."""
        if self.hazards.node_mtbf_h is not None:
            for node in self.nodes:
                self.env.process(self._lose(node, 3600 * self.hazards.node_mtbf_h))
        self.env.run(until=self._done)

    def _employed(self, node: Node, work: Work) -> Step:
        while True:
            hands = Hands()
            try:
                yield node.back
                yield from work(node, hands)
            except simpy.Interrupt:
                self.drop(hands)

    def _lose(self, node: Node, mean_s: float) -> Step:
        while True:
            yield self.env.timeout(self._random.exponential(mean_s))
            self.lost += 1
            node.back = self.env.timeout(self.fleet.node.boot_s + self.times.startup_s)
            for worker in node.workers:
                worker.interrupt()
            yield node.back

    def drop(self, hands: Hands) -> None:
        """Give back what a worker holds: its unit is done again."""
        if hands.unit is not None:
            self.redone += 1
            self.pending.append(hands.unit)
        if hands.has_place and self.places is not None:
            self.places.put(1)
        hands.unit, hands.has_place = None, False

    def next_unit(self, hands: Hands) -> Step:
        """Take the next unit from the driver, which hands them out one after the other."""
        while hands.unit is None:
            with self._driver.request() as turn:
                yield turn
                if self.pending:
                    hands.unit = self.pending.popleft()
                    yield from self.spend("driver", self.times.driver_s)
                    return
            yield self.env.timeout(_POLL_S)  # units may still come back

    def publish(self, hands: Hands) -> None:
        """The unit is done."""
        hands.unit = None
        self.published.append(self.env.now)
        if len(self.published) == self._num_units:
            self._done.succeed()

    def fails(self, hands: Hands) -> bool:
        """Whether the process dies with its unit, which goes back."""
        if self.hazards.unit_crash and self._random.random() < self.hazards.unit_crash:
            self.drop(hands)
            return True
        return False

    def arrive(self, node: Node, began_s: float) -> Step:
        """Wait until a unit's bytes are through the machine's network, and its requests through the store."""
        size_s = self.work.unit_size * self.times.image_bytes / self.fleet.node.bytes_per_s
        self.busy_s["network"] += size_s
        node.network_free_s = max(node.network_free_s, began_s) + size_s
        ready_s = node.network_free_s
        if self.fleet.requests_per_s is not None:
            asked_s = (self.work.unit_size + 1) / self.fleet.requests_per_s
            self.busy_s["store"] += asked_s
            self._store_free_s = max(self._store_free_s, began_s) + asked_s
            ready_s = max(ready_s, self._store_free_s)
        yield self.env.timeout(max(0.0, ready_s - self.env.now))

    def spend(self, part: str, seconds: float, *, at_least_s: float = 0.0) -> Step:
        """Work for so long, and then wait until `at_least_s` have passed."""
        self.busy_s[part] += seconds
        yield self.env.timeout(max(seconds, at_least_s))

    def take(self, request: Any, hands: Hands) -> Step:
        """Wait for the unit that a queue gives; none is lost where the wait is cut off."""
        try:
            hands.unit = yield request
        except simpy.Interrupt:
            if request.triggered:
                hands.unit = request.value
            else:
                request.cancel()
            raise

    def unit_s(self, image_s: float) -> float:
        """What a unit's images take together: a gamma variate around their number times their mean."""
        count, spread = self.work.unit_size, self.times.spread
        if not spread or not image_s:
            return count * image_s
        shape = count / spread**2
        return float(self._random.gamma(shape, count * image_s / shape))

    def slowness(self) -> float:
        """1, or of a straggler more."""
        slow = self.hazards.straggler and self._random.random() < self.hazards.straggler
        return self.hazards.straggler_factor if slow else 1.0
