"""The machines that a job is to run on, and what may befall them."""

from __future__ import annotations

from dataclasses import dataclass

from cvcore.errors import SpecError
from jobs.resources import ClusterShape, NodeShape


@dataclass(frozen=True, slots=True)
class NodeType:
    """One kind of machine.

    Attributes:
        cpus, gpus: as Ray counts them.
        price_per_h: in whatever currency; 0 where it costs nothing.
        bytes_per_s: of its network.
        boot_s: from asking for one until it works.
    """

    cpus: float
    gpus: float = 0.0
    price_per_h: float = 0.0
    bytes_per_s: float = 1.25e9
    boot_s: float = 180.0

    def __post_init__(self) -> None:
        if self.cpus <= 0 or self.bytes_per_s <= 0:
            raise SpecError(f"a machine needs CPUs and a network, got {self}")
        if min(self.gpus, self.price_per_h, self.boot_s) < 0:
            raise SpecError(f"nothing of a machine is below 0, got {self}")


@dataclass(frozen=True, slots=True)
class Hazards:
    """What goes wrong.

    Attributes:
        node_mtbf_h: mean hours until a machine is lost, a preempted one say; None never.
        unit_crash: probability that a unit's process dies and the unit is done again.
        restart_s: until a process that died works again.
        straggler: probability that a unit takes `straggler_factor` times as long.
    """

    node_mtbf_h: float | None = None
    unit_crash: float = 0.0
    restart_s: float = 15.0
    straggler: float = 0.0
    straggler_factor: float = 4.0

    def __post_init__(self) -> None:
        for name in ("unit_crash", "straggler"):
            if not 0 <= getattr(self, name) < 1:
                raise SpecError(f"{name} is a probability below 1, got {getattr(self, name)}")
        if self.node_mtbf_h is not None and self.node_mtbf_h <= 0:
            raise SpecError(f"node_mtbf_h must be above 0, got {self.node_mtbf_h}")
        if self.restart_s < 0 or self.straggler_factor < 1:
            raise SpecError("restart_s must be at least 0, and straggler_factor at least 1")


@dataclass(frozen=True, slots=True)
class Fleet:
    """Equal machines, and the store that they share.

    Attributes:
        node: their kind.
        num_nodes: how many.
        requests_per_s: that the store answers, to all together; None is no limit.
    """

    node: NodeType
    num_nodes: int
    requests_per_s: float | None = None

    def __post_init__(self) -> None:
        if self.num_nodes < 1:
            raise SpecError(f"num_nodes must be at least 1, got {self.num_nodes}")
        if self.requests_per_s is not None and self.requests_per_s <= 0:
            raise SpecError(f"requests_per_s must be above 0, got {self.requests_per_s}")

    @property
    def shape(self) -> ClusterShape:
        return ClusterShape((NodeShape(self.node.cpus, self.node.gpus),) * self.num_nodes)

    def cost(self, seconds: float) -> float:
        return self.num_nodes * self.node.price_per_h * seconds / 3600
