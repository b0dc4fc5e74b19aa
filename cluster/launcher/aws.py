"""A configuration for Ray's launcher from `cluster.yaml`, for AWS."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema

from cluster.cluster_spec import AwsClusterSpec, AwsHead, AwsNodes
from cvcore.errors import SpecError

HEAD = "head"
GCS_PORT = 6379
TOKEN_MOUNT = "~/.ray/auth_token"
"""Where Ray looks for a token by itself."""

_OPEN = "export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0; ulimit -n 65536; "
Config = dict[str, Any]


def render_aws(spec: AwsClusterSpec, *, token_file: Path) -> Config:
    """The launcher's configuration, checked against Ray's own schema.

    All servers of Ray ask for the token, which goes to the machines as a file; the dashboard, which is the
    job server, answers on the head's loopback address alone, and is reached through SSH.

    Args:
        spec: of the cluster.
        token_file: on this machine.

    Raises:
        SpecError: if Ray would not take it.
    """
    config: Config = {
        "cluster_name": spec.name,
        "max_workers": sum(_most(nodes) for nodes in spec.workers.values()),
        "idle_timeout_minutes": spec.idle_minutes,
        "provider": {
            "type": "aws",
            "region": spec.region,
            **({"availability_zone": ",".join(spec.zones)} if spec.zones else {}),
            "cache_stopped_nodes": False,
        },
        "auth": {"ssh_user": spec.ssh_user},
        "head_node_type": HEAD,
        "available_node_types": {
            HEAD: {
                "resources": {"CPU": 0, "GPU": 0},
                "min_workers": 0,
                "max_workers": 0,
                "node_config": _machine(spec, spec.head, instance_profile=spec.head.instance_profile),
            },
            **{
                name: {
                    "resources": {},  # what the instance type has
                    "min_workers": nodes.count,
                    "max_workers": _most(nodes),
                    "node_config": _machine(spec, nodes, instance_profile=spec.instance_profile)
                    | ({"InstanceMarketOptions": {"MarketType": "spot"}} if nodes.spot else {}),
                }
                for name, nodes in spec.workers.items()
            },
        },
        "file_mounts": {TOKEN_MOUNT: str(token_file)},
        "setup_commands": [f"chmod 600 {TOKEN_MOUNT}", *spec.setup],
        "head_start_ray_commands": [
            "ray stop",
            f"{_OPEN}ray start --head --port={GCS_PORT} --dashboard-host=127.0.0.1 "
            "--autoscaling-config=~/ray_bootstrap_config.yaml",
        ],
        "worker_start_ray_commands": ["ray stop", f"{_OPEN}ray start --address=$RAY_HEAD_IP:{GCS_PORT}"],
    }
    if spec.container is not None:
        config["docker"] = {
            "image": spec.container,
            "container_name": "veedor",
            "pull_before_run": True,
            "run_options": ["--ulimit nofile=65536:65536"],
        }
    check_launcher_config(config)
    return config


def check_launcher_config(config: Config) -> None:
    """Raises `SpecError` for what Ray's launcher would refuse, by the schema that comes with Ray."""
    schema = json.loads((resources.files("ray.autoscaler") / "ray-schema.json").read_text(encoding="utf-8"))
    try:
        jsonschema.validate(config, schema)
    except jsonschema.ValidationError as error:
        where = ".".join(str(part) for part in error.absolute_path) or "the configuration"
        raise SpecError(f"Ray's launcher does not take this: {where}: {error.message}") from error


def _most(nodes: AwsNodes) -> int:
    return nodes.count if nodes.max_count is None else nodes.max_count


def _machine(spec: AwsClusterSpec, asked: AwsHead | AwsNodes, *, instance_profile: str | None) -> Config:
    """Arguments of EC2's RunInstances: encrypted disks, and credentials by signed requests alone (IMDSv2)."""
    disk = {"VolumeSize": asked.disk_gib, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
    machine: Config = {
        "InstanceType": asked.instance_type,
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": disk}],
        "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
    }
    if spec.image is not None:
        machine["ImageId"] = spec.image
    if spec.subnets:
        machine["SubnetIds"] = list(spec.subnets)
    if spec.security_groups:
        machine["SecurityGroupIds"] = list(spec.security_groups)
    if instance_profile is not None:
        machine["IamInstanceProfile"] = {"Arn": instance_profile}
    return machine
