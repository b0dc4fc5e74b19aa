"""A node of a local cluster, run as a process of its own: `python -m cluster.local.node < order.json`.

Ray's own `ray start` turns 127.0.0.1 into the machine's outer address, where its servers then listen on all
interfaces. Here a node is started with the loopback address, as Ray's test clusters are by
`ray.cluster_utils`; `RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0` in the environment has drivers and workers on it
stay with that address too (`ray._private.services.get_node_ip_address`).

All processes of a node end with this one, even when it is killed (`prctl(PR_SET_PDEATHSIG)`, by Ray).
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

LOOPBACK = "127.0.0.1"
WATCH_INTERVAL_S = 0.5
VITAL = ("gcs_server", "raylet")


@dataclass(frozen=True)
class NodeOrder:
    """What a node is to be.

    Attributes:
        role: `head`, or a worker's name.
        temp_dir: the node's own, or nodes would delete each other's unpacked packages; short, since names of
            sockets are at most 107 bytes.
        gcs_address: of the head; None for the head itself.
        port: of the job server; the head's alone.
    """

    role: str
    temp_dir: str
    num_cpus: float
    num_gpus: int
    object_store_bytes: int
    gcs_address: str | None = None
    port: int | None = None

    @property
    def is_head(self) -> bool:
        return self.gcs_address is None

    def encode(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class NodeReport:
    """What a node says once it is up."""

    gcs_address: str
    url: str

    def encode(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> NodeReport:
        return cls(**json.loads(text))


def start_node(order: NodeOrder) -> Any:
    """Start Ray's processes of a node; returns Ray's handle on them."""
    from ray._private.authentication.authentication_token_setup import ensure_token_if_auth_enabled
    from ray._private.node import Node
    from ray._private.parameter import RayParams
    from ray._private.utils import write_ray_address

    ensure_token_if_auth_enabled(create_token_if_missing=False)
    parameters = RayParams(
        node_ip_address=LOOPBACK,
        node_name=order.role,
        gcs_address=order.gcs_address,
        num_cpus=order.num_cpus,
        num_gpus=order.num_gpus,
        object_store_memory=order.object_store_bytes,
        temp_dir=order.temp_dir,
        min_worker_port=0,
        max_worker_port=0,
        include_dashboard=True if order.is_head else None,
        dashboard_host=LOOPBACK,
        dashboard_port=order.port,
        dashboard_agent_listen_port=0,  # the default is one for all clusters of a machine
        no_monitor=True,  # of an autoscaler: there is nothing to scale
    )
    node = Node(parameters, head=order.is_head, shutdown_at_exit=True, spawn_reaper=True)
    if order.is_head:
        write_ray_address(node.gcs_address, order.temp_dir)  # by which Ray's job server finds its own cluster
    return node


def main() -> None:
    """Start the node, report on standard output, and stay until it ends or is asked to."""
    order = NodeOrder(**json.load(sys.stdin))
    node = start_node(order)
    print(NodeReport(node.gcs_address, f"http://{node.webui_url}").encode(), flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    while not any(kind in VITAL for kind, _ in node.dead_processes()):
        time.sleep(WATCH_INTERVAL_S)
    sys.exit(f"node {order.role}: a vital process of Ray ended")


if __name__ == "__main__":
    main()
