"""Starting a local cluster's nodes, each a process with a session of its own."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.cluster_spec import LocalClusterSpec
from cluster.local import node as node_module
from cluster.local.node import NodeOrder, NodeReport
from cluster.local.processes import Process, end, tree
from cluster.local.record import LocalCluster, NodeRecord, save_record, token_path
from cluster.local.shares import Shares
from cluster.token import TOKEN_PATH_VARIABLE, TOKEN_VARIABLE
from jobs.outcome import JobFailed
from jobs.resources import LOGICAL_GPUS_VARIABLE

START_TIMEOUT_S = 120.0
MAX_ATTEMPTS = 3
GRACE_S = 15.0
STOP_WAIT_S = 20
_DROPPED = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", TOKEN_VARIABLE, LOGICAL_GPUS_VARIABLE)
Say = Callable[[str], None]


@dataclass(frozen=True)
class _Launched:
    """A node that is starting, and what it needs to be started again."""

    order: NodeOrder
    devices: tuple[str, ...] | None
    popen: subprocess.Popen[str]


class Starting:
    """A cluster that is coming up; its record grows with each process, so that none can be lost."""

    def __init__(self, spec: LocalClusterSpec, shares: Shares, temp_dir: str) -> None:
        self._spec = spec
        self._shares = shares
        self.cluster = LocalCluster(spec.name, "", temp_dir, ())
        save_record(self.cluster)

    def start(self, port: int, say: Say) -> LocalCluster:
        """Start the head, then the workers side by side; returns when all are up.

        Raises:
            JobFailed: if one of them does not start.
        """
        order = NodeOrder(
            "head", f"{self.cluster.temp_dir}/h", 0, 0, self._shares.object_store_bytes, port=port
        )
        report = self._wait(self._launch(order, ()), say)
        say(f"The head is up at {report.url}")
        orders = [
            replace(
                order,
                role=f"worker-{number}",
                temp_dir=f"{self.cluster.temp_dir}/{number}",
                num_cpus=self._shares.cpus,
                num_gpus=self._shares.gpus,
                gcs_address=report.gcs_address,
                port=None,
            )
            for number in range(1, self._spec.workers + 1)
        ]
        launched = [self._launch(each, self._shares.devices(index)) for index, each in enumerate(orders)]
        for each in launched:
            self._wait(each, say)
        self.cluster = replace(self.cluster, url=report.url, complete=True)
        save_record(self.cluster)
        return self.cluster

    def _launch(self, order: NodeOrder, devices: tuple[str, ...] | None) -> _Launched:
        with self._log(order.role).open("w") as log:
            popen = subprocess.Popen(
                [sys.executable, "-P", node_module.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=node_environment(self._spec.name, devices),
                start_new_session=True,  # Ctrl-C is not for it, and its session says what belongs to it
            )
        found = Process.of(popen.pid)
        if found is not None:
            others = tuple(node for node in self.cluster.nodes if node.role != order.role)
            record = NodeRecord(order.role, found, order.num_cpus, order.num_gpus)
            self.cluster = replace(self.cluster, nodes=(*others, record))
            save_record(self.cluster)
        assert popen.stdin is not None
        with contextlib.suppress(BrokenPipeError), popen.stdin as stdin:
            stdin.write(order.encode())
        return _Launched(order, devices, popen)

    def _wait(self, launched: _Launched, say: Say) -> NodeReport:
        """What a node reports. Ray gives it half a minute to come up, which on a busy machine is little."""
        role = launched.order.role
        for attempt in range(1, MAX_ATTEMPTS + 1):
            report = _report(launched.popen)
            if report is not None:
                return report
            self._end(launched)
            if attempt < MAX_ATTEMPTS:
                say(f"The node {role} did not come up in time: once more")
                launched = self._launch(launched.order, launched.devices)
        said = self._log(role).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise JobFailed(
            f"the node {role} did not start ({said[-1] if said else 'it said nothing'}). Nothing is left "
            "running. If the machine is overloaded or out of memory, wait, and try again"
        )

    def _end(self, launched: _Launched) -> None:
        process = Process.of(launched.popen.pid)
        if process is not None:
            end(tree(process), first=[process], grace_s=GRACE_S)
        launched.popen.wait()

    def _log(self, role: str) -> Path:
        return Path(self.cluster.temp_dir) / f"{role}.log"


def _report(popen: subprocess.Popen[str]) -> NodeReport | None:
    """What a node says once it is up; None if it ends before, or takes too long."""
    assert popen.stdout is not None
    ready, _, _ = select.select([popen.stdout], [], [], START_TIMEOUT_S)
    line = popen.stdout.readline() if ready else ""
    return NodeReport.decode(line) if line else None


def node_environment(name: str, devices: tuple[str, ...] | None) -> dict[str, str]:
    """What a node and all that it starts see: this process's environment, and where the token is.

    `devices` are the GPUs that it may use; None: there are fewer than were declared, they are logical.
    """
    environment = {key: value for key, value in os.environ.items() if key not in _DROPPED}
    environment |= {
        "RAY_AUTH_MODE": "token",
        TOKEN_PATH_VARIABLE: str(token_path(name)),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # see cluster.local.node
        "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)]),
    }
    environment.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if devices is None:
        environment.pop("CUDA_VISIBLE_DEVICES", None)
        environment[LOGICAL_GPUS_VARIABLE] = "1"
    else:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
    return environment
