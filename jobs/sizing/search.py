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
DRIVER_SHARE = 0.8
"""Of the time, at most, that one driver is to be busy."""


@dataclass(frozen=True, slots=True)
class Sizing:
    """An answer.

    Attributes:
        num_jobs: that the work is cut into, because one driver hands out so many units a second and no more;
            each has a fleet of its own, and they run at once.
        fleet: of each job.
        outcome: of each job, the slowest of those simulated.
        in_time: whether that is before the deadline; otherwise it is the best there is.
        reason: what bounds it, where it is not.
    """

    num_jobs: int
    fleet: Fleet
    outcome: Outcome
    in_time: bool
    reason: str = ""

    @property
    def num_nodes(self) -> int:
        return self.num_jobs * self.fleet.num_nodes

    @property
    def cost(self) -> float:
        """Of all machines, from the command to the end."""
        return self.num_jobs * self.fleet.cost(self.outcome.wall_s)


def predict(
    workload: Workload, fleet: Fleet, *, hazards: Hazards | None = None, asked: ResourcesSection | None = None
) -> Outcome:
    """The slowest of a few simulations."""
    found = [simulate(workload, fleet, hazards=hazards, asked=asked, seed=seed) for seed in SEEDS]
    return max(found, key=lambda outcome: outcome.wall_s)


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
    num_jobs = _num_jobs(workload, deadline_s)
    part = replace(workload, num_images=-(-workload.num_images // num_jobs))
    share = None if requests_per_s is None else requests_per_s / num_jobs
    most = max(1, max_nodes // num_jobs)

    def on(nodes: int) -> Sizing:
        fleet = Fleet(node, nodes, share)
        outcome = predict(part, fleet, hazards=hazards, asked=asked)
        return Sizing(num_jobs, fleet, outcome, outcome.wall_s <= deadline_s)

    floor_s = part.planning_s + part.times.startup_s
    if floor_s >= deadline_s:
        return replace(
            on(1), in_time=False, reason=f"listing, planning and start-up alone take {floor_s:,.0f} s"
        )
    nodes = min(most, _least(part, node, deadline_s - floor_s))
    too_few, best = nodes - 1, on(nodes)
    while not best.in_time and nodes < most:
        too_few, nodes = nodes, min(most, max(nodes + 1, math.ceil(nodes * STEP)))
        tried = on(nodes)
        if not tried.in_time and tried.outcome.wall_s > NO_GAIN * best.outcome.wall_s:
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


def _num_jobs(workload: Workload, deadline_s: float) -> int:
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
