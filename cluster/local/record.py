"""What is kept of a local cluster while it is up: where it answers, and which processes are its own."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from cluster.local.processes import Process
from cluster.state import private_folder, state_folder, write_private
from cvcore.errors import SpecError


@dataclass(frozen=True)
class NodeRecord:
    """A node: the process that its others end with, and what it declares."""

    role: str
    process: Process
    num_cpus: float
    num_gpus: int


@dataclass(frozen=True)
class LocalCluster:
    """A cluster on this machine.

    Attributes:
        url: of the job server; empty until the head is up.
        temp_dir: Ray's files: sockets, logs, spilled objects.
        complete: whether all nodes are up.
    """

    name: str
    url: str
    temp_dir: str
    nodes: tuple[NodeRecord, ...]
    complete: bool = False

    @property
    def is_alive(self) -> bool:
        """Whether any of it runs."""
        return any(node.process.is_alive() for node in self.nodes)


def cluster_folder(name: str) -> Path:
    return state_folder() / "clusters" / name


def token_path(name: str) -> Path:
    """The file with the token that the cluster asks for."""
    return cluster_folder(name) / "token"


def record_path(name: str) -> Path:
    return cluster_folder(name) / "cluster.json"


def save_record(cluster: LocalCluster) -> None:
    """Keep the record, whole, readable by its user alone."""
    private_folder(cluster_folder(cluster.name))
    write_private(record_path(cluster.name), json.dumps(asdict(cluster), indent=1))


def read_record(name: str) -> LocalCluster | None:
    """The record of a cluster; None if there is none.

    Raises:
        SpecError: if it cannot be understood.
    """
    path = record_path(name)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["nodes"] = tuple(
            NodeRecord(**{**node, "process": Process(**node["process"])}) for node in content["nodes"]
        )
        return LocalCluster(**content)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, LookupError) as error:
        raise SpecError(
            f"{path} does not say which processes belong to the cluster ({error}): end them by hand, and "
            "delete the file"
        ) from error


def up_here() -> list[LocalCluster]:
    """This user's clusters that are up on this machine."""
    found = (read_record(path.parent.name) for path in (state_folder() / "clusters").glob("*/cluster.json"))
    return [each for each in found if each is not None and each.complete and each.is_alive]


def forget(cluster: LocalCluster) -> None:
    """Remove Ray's files, the token and the record, in this order: what is left is found again."""
    shutil.rmtree(cluster.temp_dir, ignore_errors=True)
    shutil.rmtree(cluster_folder(cluster.name), ignore_errors=True)
