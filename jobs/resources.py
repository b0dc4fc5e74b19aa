"""How a cluster's resources are shared among the stages. Pure decisions on declared numbers."""

from __future__ import annotations

from dataclasses import dataclass

from cvcore.errors import SpecError
from jobs.spec import ResourcesSection

PUBLISH_CPUS = 0.25
SPARE_CPUS = 0.5
EPSILON = 1e-6
LOGICAL_GPUS_VARIABLE = "VEEDOR_LOGICAL_GPUS"
"""Set on nodes that declare GPUs which they do not have: jobs are scheduled by them and compute on CPUs."""


@dataclass(frozen=True, slots=True)
class NodeShape:
    """What one machine has, as Ray counts it."""

    num_cpus: float
    num_gpus: float = 0.0


@dataclass(frozen=True, slots=True)
class ClusterShape:
    """The machines of a cluster."""

    nodes: tuple[NodeShape, ...]

    @property
    def num_cpus(self) -> float:
        return sum(node.num_cpus for node in self.nodes)

    @property
    def num_gpus(self) -> float:
        return sum(node.num_gpus for node in self.nodes)

    def __str__(self) -> str:
        nodes = f" on {len(self.nodes)} nodes" if len(self.nodes) > 1 else ""
        return f"{self.num_cpus:g} CPUs and {self.num_gpus:g} GPUs{nodes}"


@dataclass(frozen=True, slots=True)
class ResourcePlan:
    """What each stage asks for.

    Attributes:
        actors: replicas of the model.
        cpus_per_actor, gpus_per_actor: of one replica.
        threads_per_actor: torch threads of one replica.
        decode_cpus: of one decoding task; as many run as fit beside the actors.
        fused: whether an actor does all stages of a unit: without a GPU to keep fed, a hand-over only costs.
    """

    actors: int
    cpus_per_actor: float
    gpus_per_actor: float
    threads_per_actor: int
    decode_cpus: float
    fused: bool
    publish_cpus: float = PUBLISH_CPUS


def plan_resources(asked: ResourcesSection, cluster: ClusterShape) -> ResourcePlan:
    """Choose actors and shares, or refuse at once what the cluster cannot hold.

    With GPUs: one actor a GPU (or a fraction of one) with a CPU beside it, the other CPUs decode and write.
    Without: one actor a CPU does whole units, on one torch thread, which measured fastest.

    Raises:
        SpecError: saying what was asked for, what there is and what would fit.
    """
    gpus = asked.gpus_per_actor
    if gpus is None:
        gpus = 1.0 if cluster.num_gpus >= 1 else 0.0
    if gpus > cluster.num_gpus:
        raise SpecError(
            f"resources.gpus_per_actor is {gpus:g}, the cluster has {cluster.num_gpus:g} GPUs: "
            "ask for less, or set it to 0 to run on CPUs"
        )
    cpus = asked.cpus_per_actor or _default_cpus(gpus, cluster)
    decode_cpus = min(1.0 if gpus else SPARE_CPUS, cluster.num_cpus / 4)
    beside = PUBLISH_CPUS + (decode_cpus if gpus else 0.0)
    fitting = count_fitting(cluster, cpus=cpus, gpus=gpus, beside=beside)
    actors = asked.actors or max(1, fitting)
    if actors > fitting:
        raise SpecError(
            f"{actors} actors of {cpus:g} CPUs and {gpus:g} GPUs do not fit beside {beside:g} CPUs for other "
            f"stages: the cluster has {cluster}, room for {fitting} such actors. "
            "Lower resources.actors, resources.cpus_per_actor or resources.gpus_per_actor."
        )
    threads = max(1, round(cpus) if gpus or asked.cpus_per_actor else int(cluster.num_cpus / actors))
    return ResourcePlan(actors, cpus, gpus, threads, decode_cpus, fused=not gpus)


def count_store_users(plan: ResourcePlan, cluster: ClusterShape) -> int:
    """How many processes may call a store at once: the driver, the actors, and tasks on the CPUs beside."""
    beside = cluster.num_cpus - plan.actors * plan.cpus_per_actor
    return 1 + plan.actors + max(0, int(beside / plan.publish_cpus + EPSILON))


def count_fitting(cluster: ClusterShape, *, cpus: float, gpus: float, beside: float) -> int:
    """How many actors fit if `beside` CPUs stay free on the largest node; none spans two nodes or GPUs."""
    largest = max(range(len(cluster.nodes)), key=lambda index: cluster.nodes[index].num_cpus)
    total = 0
    for index, node in enumerate(cluster.nodes):
        free = node.num_cpus - (beside if index == largest else 0.0)
        by_cpus = int(free / cpus + EPSILON)
        total += max(0, min(by_cpus, _fitting_on_gpus(gpus, node.num_gpus)) if gpus else by_cpus)
    return total


def _default_cpus(gpus: float, cluster: ClusterShape) -> float:
    if gpus:
        return min(1.0, cluster.num_cpus / 2)
    # A whole CPU each, less what keeps room for writing, shared by all.
    smallest = min(node.num_cpus for node in cluster.nodes if node.num_cpus > 0)
    return max(smallest - SPARE_CPUS, smallest / 2) / max(1, int(smallest))


def _fitting_on_gpus(gpus_per_actor: float, num_gpus: float) -> int:
    if gpus_per_actor >= 1:
        return int(num_gpus / gpus_per_actor)
    return int(num_gpus) * int(1 / gpus_per_actor + EPSILON)
