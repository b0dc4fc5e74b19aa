"""Joining a Ray cluster, or starting an embedded one that ends with the driver."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ray
from ray._private import worker as ray_worker
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available

from cvcore.errors import SpecError, VeedorError
from jobs.outcome import JobFailed
from jobs.resources import ClusterShape, NodeShape

EMBEDDED_HEAD_TIMEOUT_S = 15
CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class RaySession:
    """A cluster as the driver sees it."""

    shape: ClusterShape
    hardware: str


def embedded(address: str | None) -> bool:
    """Whether a session would start a cluster of its own."""
    return not ray.is_initialized() and _where(address) == "local"


def _where(address: str | None) -> str:
    return address or os.environ.get("RAY_ADDRESS") or "local"


@contextlib.contextmanager
def ray_session(*, address: str | None = None, verbose: bool = False) -> Iterator[RaySession]:
    """Use the cluster at `address` (or `RAY_ADDRESS`), one already joined, or an embedded one.

    Raises:
        SpecError: if there is no cluster at the address, or none that may be joined.
        JobFailed: if an embedded one does not start.
    """
    joined = ray.is_initialized()
    where = _where(address)
    if not joined:
        options = {"include_dashboard": False} if where == "local" else {}
        if where == "local":
            # A lost head ends the driver after this time; an embedded one never comes back.
            os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", str(EMBEDDED_HEAD_TIMEOUT_S))
        # Ray prints what went wrong in workers on standard output, whatever log_to_driver says.
        ray_worker._worker_logs_enabled = verbose
        _check_answers(where)
        try:
            with contextlib.nullcontext() if verbose else _quiet_core():
                if where != "local":  # else Ray shows a token it has only where RAY_AUTH_MODE is set
                    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
                ray.init(
                    address=where,
                    log_to_driver=verbose,
                    logging_level=logging.INFO if verbose else logging.ERROR,
                    **options,
                )
        except Exception as error:  # Ray raises bare ones
            ray.shutdown()
            raise _not_there(where, error) from error
    try:
        yield RaySession(_shape(), _hardware())
    finally:
        if not joined:
            ray.shutdown()


def _check_answers(where: str) -> None:
    """Refuse a HOST:PORT where nothing answers: Ray would try for minutes, in silence."""
    host, colon, port = where.rpartition(":")
    if not colon or "/" in where or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise _not_there(where, error) from error


def _not_there(where: str, error: Exception) -> VeedorError:
    """What to say of a cluster that could not be joined or started."""
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    if where == "local":
        return JobFailed(
            f"Ray did not start on this machine ({reason}). Nothing was done. If the machine is overloaded "
            "or out of memory, wait, and run the same command again; --verbose shows what Ray says"
        )
    return SpecError(
        f"the Ray cluster at {where} cannot be joined ({reason}). Check the address (--address or "
        "RAY_ADDRESS), that the cluster runs and has this version of Ray, and its token (RAY_AUTH_TOKEN). "
        "Without an address, a cluster is started here"
    )


@contextlib.contextmanager
def _quiet_core() -> Iterator[None]:
    """Keep Ray's C++ core from printing: its level is set here, and it announces that on the raw stderr."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    sys.stderr.flush()
    saved = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _shape() -> ClusterShape:
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    nodes = (NodeShape(found.get("CPU", 0.0), found.get("GPU", 0.0)) for found in alive)
    return ClusterShape(tuple(node for node in nodes if node.num_cpus > 0))


def _hardware() -> str:
    shape = _shape()
    gpus = f"{shape.num_gpus:g} GPUs" if shape.num_gpus else "no GPU"
    nodes = f"{len(shape.nodes)} nodes, " if len(shape.nodes) > 1 else ""
    return f"{nodes}{shape.num_cpus:g} CPUs ({platform.machine()}), {gpus}"
