"""A discrete-event simulation of a job on a fleet, a unit at a time.

It has the pipeline's own shape: the driver hands out units; where there are GPUs, decoding tasks feed
replicas and writing tasks take from them, with a bounded number of units between; where there are none, each
replica does whole units, two under way at once. `plan_resources` decides how many of each there are, as in a
job.
"""

from __future__ import annotations

from dataclasses import dataclass

from jobs.resources import ResourcePlan, plan_resources
from jobs.sizing.fleet import Fleet, Hazards
from jobs.sizing.workers import Staff, StageWorkers, WholeUnitWorkers
from jobs.sizing.workload import Workload
from jobs.sizing.world import World
from jobs.spec import ResourcesSection

MAX_UNITS_EACH = 30
"""Simulated for each unit that can be under way; what is beyond goes on at the rate of the middle."""
MIN_UNITS = 400
SETTLED, ENDING = 0.2, 0.8
"""Shares of the simulated units before and behind which not all work."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a simulated job came to.

    Attributes:
        wall_s: from the command to the end, planning included.
        images_per_s: from the first to the last publication; of a job that was extrapolated, of the middle.
        busy: share of the time that each part worked, 0 to 1: `driver`, `network`, `store`, and `cores`, or
            with GPUs `decoding`, `replicas`, `writing`.
        units_redone: begun again after a crash or a lost machine, of those simulated.
        nodes_lost: in the simulated time.
        resources: what `plan_resources` chose.
        simulated_units: the others were extrapolated.
    """

    wall_s: float
    images_per_s: float
    busy: dict[str, float]
    units_redone: int
    nodes_lost: int
    resources: ResourcePlan
    simulated_units: int

    @property
    def bottleneck(self) -> str:
        """The busiest part."""
        return max(self.busy, key=lambda name: self.busy[name])


def simulate(
    workload: Workload,
    fleet: Fleet,
    *,
    hazards: Hazards | None = None,
    asked: ResourcesSection | None = None,
    seed: int = 0,
) -> Outcome:
    """Run a job in simulated time. The same arguments give the same outcome.

    Raises:
        SpecError: where the fleet cannot hold what is `asked`.
    """
    asked = asked or ResourcesSection()
    resources = plan_resources(asked, fleet.shape)
    staff = _staff(workload, fleet, resources, asked)
    num_units = min(workload.num_units, max(MIN_UNITS, MAX_UNITS_EACH * staff.units_at_once))
    world = World(workload, fleet, hazards or Hazards(), num_units=num_units, seed=seed)
    staff.employ(world)
    world.run()
    return _outcome(world, staff, resources)


def _staff(workload: Workload, fleet: Fleet, resources: ResourcePlan, asked: ResourcesSection) -> Staff:
    if resources.fused:
        return WholeUnitWorkers(resources)
    unit_bytes = workload.unit_size * workload.canvas_bytes
    return StageWorkers(
        resources,
        num_cpus=fleet.shape.num_cpus,
        max_units_between=int(asked.max_bytes_in_flight / unit_bytes),
    )


def _outcome(world: World, staff: Staff, resources: ResourcePlan) -> Outcome:
    work, times = world.work, world.published
    simulated_s, beyond = times[-1], work.num_units - len(times)
    first, last = (int(len(times) * SETTLED), int(len(times) * ENDING)) if beyond else (0, len(times) - 1)
    units_per_s = (last - first) / (times[last] - times[first]) if times[last] > times[first] else 0.0
    if not units_per_s:  # one unit
        units_per_s = len(times) / simulated_s
    widths = {"driver": 1.0, "store": 1.0, "network": float(len(world.nodes)), **staff.widths}
    return Outcome(
        wall_s=work.planning_s + work.times.startup_s + simulated_s + beyond / units_per_s,
        images_per_s=units_per_s * min(work.unit_size, work.num_images),
        busy={part: min(1.0, spent / (simulated_s * widths[part])) for part, spent in world.busy_s.items()},
        units_redone=world.redone,
        nodes_lost=world.lost,
        resources=resources,
        simulated_units=len(times),
    )
