"""How many nodes of which kind a job needs. Pure decisions on declared numbers."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from cluster.kubernetes.options import GpuGroup, KubernetesSection, NodeGroup
from cvcore.errors import SpecError
from jobs.resources import ClusterShape, NodeShape, plan_resources
from jobs.spec import ResourcesSection

MAX_NODES = 10_000


@dataclass(frozen=True)
class SizedGroup:
    """A group of nodes, and how many there may be of them."""

    group: NodeGroup
    minimum: int
    maximum: int

    @property
    def gpus(self) -> int:
        return self.group.gpus if isinstance(self.group, GpuGroup) else 0


@dataclass(frozen=True)
class Fleet:
    """The nodes of a job.

    Attributes:
        model: those that hold the model's actors.
        helpers: those that only decode and write beside GPUs; None where there are none.
    """

    model: SizedGroup
    helpers: SizedGroup | None = None

    @property
    def groups(self) -> tuple[SizedGroup, ...]:
        return (self.model,) if self.helpers is None else (self.model, self.helpers)

    @property
    def grows(self) -> bool:
        """Whether nodes come and go as work does."""
        return any(each.minimum < each.maximum for each in self.groups)


def plan_fleet(asked: ResourcesSection, options: KubernetesSection, *, lasting: bool = False) -> Fleet:
    """Choose the groups and their bounds so that the job is not refused when it starts.

    Args:
        asked: the spec's.
        options: the groups' nodes and bounds.
        lasting: of a cluster that several jobs are sent to: it may be empty between them.

    Raises:
        SpecError: if what is asked for does not fit on the nodes, or contradicts itself.
    """
    gpus = asked.gpus_per_actor
    if gpus == 0 and options.gpu_nodes is not None:
        raise SpecError(
            "resources.gpus_per_actor is 0 in the spec, and nodes with GPUs are asked for: drop one of them"
        )
    on_gpus = bool(gpus) or options.gpu_nodes is not None
    group = (options.gpu_nodes or GpuGroup()) if on_gpus else options.cpu_nodes
    needed = count_nodes(asked, group)
    most = group.max if group.max is not None else max(needed, group.min or 0)
    least = group.min if group.min is not None else min(needed, most)
    if not lasting and least < needed:
        given = f"min is {group.min}" if group.min is not None else f"max is {group.max}"
        raise SpecError(
            f"the job needs {_nodes(needed)} of {_text(group)} when it starts, and {given}: leave it out or "
            "raise it, or lower resources.actors in the spec"
        )
    model = SizedGroup(group, least, most)
    helpers = _helpers(options, model) if on_gpus else None
    fleet = Fleet(model, helpers)
    if options.queue is not None and fleet.grows:
        raise SpecError(
            "Kueue admits jobs of a fixed size, and min and max differ: set them alike, or drop the queue"
        )
    return fleet


def count_nodes(asked: ResourcesSection, group: NodeGroup) -> int:
    """The fewest equal nodes on which the job's own plan of resources is not refused.

    Raises:
        SpecError: where no number of them is enough.
    """
    node = NodeShape(group.cpus, group.gpus if isinstance(group, GpuGroup) else 0)

    def fits(count: int) -> bool:
        try:
            plan_resources(asked, ClusterShape((node,) * count))
        except SpecError:
            return False
        return True

    # An actor alone tells whether any fits at all; so many actors are the most nodes that can be needed.
    most = min(MAX_NODES, (asked.actors or 1) + 1)
    found = bisect_left(range(1, most + 1), True, key=fits) + 1
    if found > most:
        gpus = f" and {asked.gpus_per_actor:g} GPUs" if asked.gpus_per_actor else ""
        cpus = f"{asked.cpus_per_actor:g}" if asked.cpus_per_actor else "its"
        raise SpecError(
            f"an actor of {cpus} CPUs{gpus} does not fit on nodes of {_text(group)} beside what decodes and "
            "writes: give larger nodes (--cpus, --gpus), or lower resources.cpus_per_actor or "
            "resources.gpus_per_actor in the spec"
        )
    return found


def _helpers(options: KubernetesSection, model: SizedGroup) -> SizedGroup | None:
    """CPU nodes beside GPUs: by default none to begin with, and up to one for each node with GPUs."""
    group = options.cpu_nodes
    default = 0 if options.queue is not None else model.maximum
    most = group.max if group.max is not None else max(default, group.min or 0)
    return SizedGroup(group, group.min or 0, most) if most else None


def _nodes(count: int) -> str:
    return f"{count:,} node{'s' * (count != 1)}"


def _text(group: NodeGroup) -> str:
    gpus = f", {group.gpus} GPUs" if isinstance(group, GpuGroup) else ""
    return f"{group.cpus} CPUs{gpus}"
