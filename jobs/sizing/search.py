"""The smallest fleet that is done in time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from jobs.sizing.fleet import Fleet, Hazards, NodeType
from jobs.sizing.simulation import Outcome, simulate
from jobs.sizing.workload import Workload
from jobs.spec import ResourcesSection

SEEDS = (0, 1, 2)
STEP = 1.1
NO_GAIN = 0.995
MAX_NODES = 4096
MAX_INPUTS = 50_000_000
"""Of one job: its driver holds 0.09 GiB a million, and each node 26 bytes an input (`benchmarks/plan.py`)."""
DRIVER_SHARE = 0.8
"""Of the time, at most, that one driver is to be busy."""


@dataclass(frozen=True, slots=True)
class Sizing:
    """An answer.

    Attributes:
        at_once: jobs that run side by side, each on a fleet of its own, because one driver hands out so many
            units a second and no more.
        in_turn: jobs that each fleet does one after the other, because a plan is held in memory.
        fleet: of each job.
        outcome: of each job, the slowest of those simulated.
        in_time: whether that is before the deadline; otherwise it is the best there is.
        reason: what bounds it, where it is not.
    """

    at_once: int
    in_turn: int
    fleet: Fleet
    outcome: Outcome
    in_time: bool
    reason: str = ""

    @property
    def num_jobs(self) -> int:
        return self.at_once * self.in_turn

    @property
    def num_nodes(self) -> int:
        return self.at_once * self.fleet.num_nodes

    @property
    def wall_s(self) -> float:
        """From the first command to the end."""
        return self.in_turn * self.outcome.wall_s

    @property
    def images_per_s(self) -> float:
        """Of all fleets, while all work."""
        return self.at_once * self.outcome.images_per_s

    @property
    def cost(self) -> float:
        """Of all machines, from the command to the end."""
        return self.at_once * self.fleet.cost(self.wall_s)


def run_on(
    workload: Workload,
    fleet: Fleet,
    *,
    at_once: int = 1,
    deadline_s: float = math.inf,
    hazards: Hazards | None = None,
    asked: ResourcesSection | None = None,
) -> Sizing:
    """What the work takes on so many equal fleets: the slowest of a few simulations."""
    share = -(-workload.num_images // at_once)
    in_turn = -(-share // MAX_INPUTS)
    part = replace(workload, num_images=-(-share // in_turn))
    found = [simulate(part, fleet, hazards=hazards, asked=asked, seed=seed) for seed in SEEDS]
    slowest = max(found, key=lambda outcome: outcome.wall_s)
    sizing = Sizing(at_once, in_turn, fleet, slowest, in_time=True)
    return replace(sizing, in_time=sizing.wall_s <= deadline_s)


def size_fleet(
    workload: Workload,
    node: NodeType,
    *,
    deadline_s: float,
    requests_per_s: float | None = None,
    hazards: Hazards | None = None,
    asked: ResourcesSection | None = None,
    max_nodes: int = MAX_NODES,
) -> Sizing:
    """Find the fewest machines of a kind that finish before the deadline.

    Args:
        workload: the whole of it.
        node: the kind of machine.
        deadline_s: from the command, seconds.
        requests_per_s: see `Fleet`; shared by all jobs.
        hazards: see `Hazards`.
        asked: the spec's own resources.
        max_nodes: of all jobs together.
    """
    at_once = _at_once(workload, deadline_s)
    share = None if requests_per_s is None else requests_per_s / at_once
    most = max(1, max_nodes // at_once)

    def on(nodes: int) -> Sizing:
        return run_on(
            workload,
            Fleet(node, nodes, share),
            at_once=at_once,
            deadline_s=deadline_s,
            hazards=hazards,
            asked=asked,
        )

    part = replace(workload, num_images=-(-workload.num_images // at_once))
    floor_s = part.planning_s + part.times.startup_s
    if floor_s >= deadline_s:
        reason = f"listing, planning and start-up alone take {floor_s:,.0f} s"
        return replace(on(1), in_time=False, reason=reason)
    nodes = min(most, _least(part, node, deadline_s - floor_s))
    too_few, best = nodes - 1, on(nodes)
    while not best.in_time and nodes < most:
        too_few, nodes = nodes, min(most, max(nodes + 1, math.ceil(nodes * STEP)))
        tried = on(nodes)
        if not tried.in_time and tried.wall_s > NO_GAIN * best.wall_s:
            return replace(best, reason=_bound(best.outcome, requests_per_s))
        best = tried
    if not best.in_time:
        return replace(best, reason=f"more than {max_nodes:,} machines would be needed")
    return _fewest(best, on, too_few=too_few)


def _fewest(best: Sizing, on: Callable[[int], Sizing], *, too_few: int) -> Sizing:
    """The least between a number of machines that does not do and one that does, found by halving."""
    while best.fleet.num_nodes - too_few > 1:
        middle = (too_few + best.fleet.num_nodes) // 2
        tried = on(middle)
        if tried.in_time:
            best = tried
        else:
            too_few = middle
    return best


def _at_once(workload: Workload, deadline_s: float) -> int:
    driver_s = workload.num_units * workload.times.driver_s
    left_s = DRIVER_SHARE * (deadline_s - workload.times.startup_s)
    return max(1, math.ceil(driver_s / left_s)) if left_s > 0 else 1


def _least(part: Workload, node: NodeType, seconds: float) -> int:
    """Machines that nothing but arithmetic would need."""
    times = part.times
    if node.gpus:
        by_gpus = part.num_images * times.infer_s / node.gpus
        by_cpus = part.num_images * times.decode_s / node.cpus
        work_s = max(by_gpus, by_cpus)
    else:
        work_s = part.num_images * (times.decode_s + times.infer_s) / node.cpus
    return max(1, math.floor(work_s / seconds))


def _bound(outcome: Outcome, requests_per_s: float | None) -> str:
    if outcome.bottleneck == "store" and requests_per_s is not None:
        return f"the store answers {requests_per_s:,.0f} requests a second, and more machines cannot ask more"
    return f"more machines gain nothing: what is busiest is {outcome.bottleneck}"
