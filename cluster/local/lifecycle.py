"""Bringing a local cluster up, and taking exactly that one down again."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from cluster.cluster_spec import LocalClusterSpec
from cluster.local import node as node_module
from cluster.local.node import LOOPBACK, NodeOrder, NodeReport
from cluster.local.processes import Process, end, tree
from cluster.local.record import (
    LocalCluster,
    NodeRecord,
    cluster_folder,
    forget,
    read_record,
    save_record,
    token_path,
)
from cluster.local.shares import Shares, share_machine
from cluster.state import private_folder, state_folder, write_private
from cluster.token import TOKEN_PATH_VARIABLE, TOKEN_VARIABLE, new_token
from cvcore.errors import SpecError
from jobs.outcome import JobFailed
from jobs.resources import LOGICAL_GPUS_VARIABLE

START_TIMEOUT_S = 120.0
GRACE_S = 15.0
STOP_WAIT_S = 20
SHORT_TEMP = Path("/tmp")
_DROPPED = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", TOKEN_VARIABLE, LOGICAL_GPUS_VARIABLE)
Say = Callable[[str], None]


def bring_up(spec: LocalClusterSpec, *, say: Say) -> LocalCluster:
    """Start a head and the workers; returns when all of them are up.

    Raises:
        SpecError: if the cluster is up already, the port is taken, or the machine has too little.
        JobFailed: if a node does not start; what was started is ended again.
    """
    if not sys.platform.startswith("linux"):
        raise SpecError("a local cluster of several nodes needs Linux: Ray starts a single node elsewhere")
    with _alone(spec.name):
        standing = read_record(spec.name)
        if standing is not None and standing.is_alive:
            where = f"up at {standing.url}" if standing.complete else "there in part"
            raise SpecError(
                f"the cluster {spec.name!r} is {where} already: end it with `veedor down --name {spec.name}`"
                ", or give this one another name"
            )
        if standing is not None:
            forget(standing)
        shares = share_machine(spec)
        port = _free_port(spec.port)
        private_folder(cluster_folder(spec.name))
        write_private(token_path(spec.name), new_token() + "\n")
        starting = _Starting(spec, shares, tempfile.mkdtemp(prefix="veedor-", dir=SHORT_TEMP))
        try:
            return starting.start(port, say)
        except BaseException:
            _end(starting.cluster)
            raise


def take_down(name: str) -> LocalCluster:
    """End the cluster's processes, and remove its files, token and record.

    Raises:
        SpecError: if there is no such cluster here.
    """
    with _alone(name):
        cluster = read_record(name)
        if cluster is None:
            up = sorted(path.parent.name for path in (state_folder() / "clusters").glob("*/cluster.json"))
            others = f"; up are: {', '.join(up)}" if up else ""
            raise SpecError(f"no cluster {name!r} was brought up here by this user{others}")
        _end(cluster)
        return cluster


def _end(cluster: LocalCluster) -> None:
    """The workers first: they take their leave from the head."""
    heads = [node.process for node in cluster.nodes if node.role == "head"]
    workers = [node.process for node in cluster.nodes if node.role != "head"]
    for processes in (workers, heads):
        trees = frozenset[Process]().union(*(tree(each) for each in processes))
        end(trees, first=processes, grace_s=GRACE_S)
    forget(cluster)


class _Starting:
    """A cluster that is coming up; its record grows with each process, so that none can be lost."""

    def __init__(self, spec: LocalClusterSpec, shares: Shares, temp_dir: str) -> None:
        self._spec = spec
        self._shares = shares
        self.cluster = LocalCluster(spec.name, "", temp_dir, ())
        save_record(self.cluster)

    def start(self, port: int, say: Say) -> LocalCluster:
        order = NodeOrder(
            "head", f"{self.cluster.temp_dir}/h", 0, 0, self._shares.object_store_bytes, port=port
        )
        report = self._wait(order.role, self._launch(order, ()))
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
        launched = [
            (each.role, self._launch(each, self._shares.devices(index))) for index, each in enumerate(orders)
        ]
        for role, process in launched:
            self._wait(role, process)
        self.cluster = replace(self.cluster, url=report.url, complete=True)
        save_record(self.cluster)
        return self.cluster

    def _launch(self, order: NodeOrder, devices: tuple[str, ...] | None) -> subprocess.Popen[str]:
        with self._log(order.role).open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", node_module.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=node_environment(self._spec.name, devices),
                start_new_session=True,  # Ctrl-C is not for it, and its session says what belongs to it
            )
        found = Process.of(process.pid)
        if found is not None:
            record = NodeRecord(order.role, found, order.num_cpus, order.num_gpus)
            self.cluster = replace(self.cluster, nodes=(*self.cluster.nodes, record))
            save_record(self.cluster)
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(order.encode())
        return process

    def _wait(self, role: str, process: subprocess.Popen[str]) -> NodeReport:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT_S)
        line = process.stdout.readline() if ready else ""
        if line:
            return NodeReport.decode(line)
        said = self._log(role).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = said[-1] if said else f"it did not answer in {START_TIMEOUT_S:.0f} s"
        raise JobFailed(f"the node {role} did not start ({reason}). Nothing is left running: try again")

    def _log(self, role: str) -> Path:
        return Path(self.cluster.temp_dir) / f"{role}.log"


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


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """Keep two commands from bringing one cluster up or down at once."""
    folder = private_folder(state_folder() / "clusters")
    with (folder / f".{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SpecError(
                f"the cluster {name!r} is being brought up or down by another command: wait for that"
            ) from error
        yield


def _free_port(port: int) -> int:
    """The port, if nothing listens on it; one that is free for 0."""
    with socket.socket() as listener:
        try:
            listener.bind((LOOPBACK, port))
        except OSError as error:
            raise SpecError(
                f"port {port} on {LOOPBACK} is taken ({error.strerror}): another cluster? Choose another "
                "with --port, or 0 for any that is free"
            ) from error
        chosen: int = listener.getsockname()[1]
        return chosen
