"""Having Ray's launcher bring a cloud cluster up and down."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import yaml

from cluster.cluster_spec import AwsClusterSpec
from cluster.launcher.aws import render_aws
from cluster.local.record import cluster_folder, token_path
from cluster.state import private_folder, write_private
from cluster.token import new_token
from cvcore.errors import SpecError
from jobs.outcome import JobFailed

CONFIG_NAME = "launcher.yaml"


def launcher_config(name: str) -> Path:
    """Where the rendered configuration of a cluster is kept."""
    return cluster_folder(name) / CONFIG_NAME


def render(spec: AwsClusterSpec) -> str:
    """The launcher's configuration as YAML."""
    return yaml.safe_dump(render_aws(spec, token_file=token_path(spec.name)), sort_keys=False)


def launch(spec: AwsClusterSpec) -> Path:
    """Bring the cluster up, or to what the spec says now; returns its configuration's file.

    The token is made once for a cluster, and lasts as long as that.

    Raises:
        SpecError: if something is missing here.
        JobFailed: if the launcher fails; what it started then may run.
    """
    _check_tools()
    private_folder(cluster_folder(spec.name))
    if not token_path(spec.name).exists():
        write_private(token_path(spec.name), new_token() + "\n")
    config = launcher_config(spec.name)
    write_private(config, render(spec))
    _ray("up", config, spec.name)
    return config


def end(name: str) -> None:
    """Return the cluster's machines, and forget it.

    Raises:
        JobFailed: if the launcher fails; its configuration stays, to try again.
    """
    _check_tools()
    _ray("down", launcher_config(name), name)
    shutil.rmtree(cluster_folder(name), ignore_errors=True)


def _ray(command: str, config: Path, name: str) -> None:
    done = subprocess.run([sys.executable, "-m", "ray.scripts.scripts", command, "--yes", str(config)])
    if done.returncode:
        raise JobFailed(
            f"Ray's launcher failed (ray {command}, exit code {done.returncode}); what it said is above. "
            f"Machines may run: veedor down --name {name} returns them"
        )


def _check_tools() -> None:
    if find_spec("boto3") is None:
        raise SpecError("Ray's launcher for AWS needs boto3: pip install boto3")
    for tool in ("ssh", "rsync"):
        if shutil.which(tool) is None:
            raise SpecError(f"Ray's launcher needs {tool}, which is not on this machine: install it")
