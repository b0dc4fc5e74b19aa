"""Bringing a local cluster up, and taking exactly that one down again."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cluster.cluster_spec import LocalClusterSpec
from cluster.local.node import LOOPBACK
from cluster.local.processes import Process, end, tree
from cluster.local.record import LocalCluster, cluster_folder, forget, read_record, token_path
from cluster.local.shares import share_machine
from cluster.local.starting import GRACE_S, Say, Starting
from cluster.state import private_folder, state_folder, write_private
from cluster.token import new_token
from cvcore.errors import SpecError

SHORT_TEMP = Path("/tmp")


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
        starting = Starting(spec, shares, tempfile.mkdtemp(prefix="veedor-", dir=SHORT_TEMP))
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
