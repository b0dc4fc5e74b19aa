"""`cluster.yaml`: what a cluster is made of, on this machine or in a cloud. Strict, as job specs are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from cluster.spec_file import read_spec_file
from cvcore.errors import SpecError, did_you_mean
from jobs.spec import Section, validate_spec

MIN_OBJECT_STORE_BYTES: Final = 75 * 2**20
"""Ray's own."""

InstanceProfile = Annotated[str, Field(pattern="^arn:aws[a-z-]*:iam::[0-9]{12}:instance-profile/.+$")]
ClusterName = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,39}$")]
Port = Annotated[int, Field(ge=0, le=65535)]


class LocalClusterSpec(Section):
    """A head and workers on this machine, bound to loopback.

    Attributes:
        port: of the job server; 0 takes any that is free.
        workers: nodes that work; the head does not.
        cpus, gpus: of each worker. None: the machine's, shared evenly. More GPUs than the machine has are
            logical: jobs are scheduled by them and compute on CPUs.
        object_store_bytes: of each node. None: from the machine's memory.
    """

    version: Literal[1] = 1
    provider: Literal["local"] = "local"
    name: ClusterName = "local"
    port: Port = 8265
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    cpus: Annotated[float, Field(gt=0)] | None = None
    gpus: Annotated[int, Field(ge=0)] | None = None
    object_store_bytes: Annotated[int, Field(ge=MIN_OBJECT_STORE_BYTES)] | None = None


class AwsNodes(Section):
    """Machines of one kind: at least `count` of them, up to `max_count` as jobs ask for more."""

    instance_type: str
    count: Annotated[int, Field(ge=0)] = 1
    max_count: Annotated[int, Field(ge=1)] | None = None
    spot: bool = False
    disk_gib: Annotated[int, Field(ge=30)] = 150

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.max_count is not None and self.max_count < self.count:
            raise ValueError(f"max_count ({self.max_count}) is below count ({self.count}): raise or drop it")
        return self


class AwsHead(Section):
    """The machine that schedules, and on which drivers run; it does not compute.

    `instance_profile`: ARN of one that may start machines and reach the buckets; None: Ray makes one.
    """

    instance_type: str = "m7i.xlarge"
    instance_profile: InstanceProfile | None = None
    disk_gib: Annotated[int, Field(ge=30)] = 150


class AwsClusterSpec(Section):
    """Machines in AWS, started by Ray's launcher.

    Attributes:
        zones: availability zones; empty: any of the region.
        image: AMI; None: Ray's default, AWS's deep learning image.
        container: image of a container that holds Python, Ray and veedor's dependencies; None: `setup`
            installs them on the machines.
        instance_profile: ARN of the one by which workers reach the buckets.
        setup: shell commands for each new machine, or in its container.
        subnets, security_groups: ids; empty: the launcher's own, which admit SSH alone from outside.
        idle_minutes: after so long without work, machines above `count` are returned.
    """

    version: Literal[1] = 1
    provider: Literal["aws"]
    name: ClusterName
    region: Annotated[str, Field(pattern="^[a-z]{2}(-[a-z]+)+-[0-9]$")]
    zones: tuple[str, ...] = ()
    head: AwsHead = AwsHead()
    workers: Annotated[dict[ClusterName, AwsNodes], Field(min_length=1)]
    image: Annotated[str, Field(pattern="^ami-[0-9a-f]+$")] | None = None
    container: str | None = None
    instance_profile: InstanceProfile | None = None
    ssh_user: str = "ubuntu"
    setup: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    idle_minutes: Annotated[int, Field(ge=1)] = 10

    @model_validator(mode="after")
    def _has_software(self) -> Self:
        if self.container is None and not self.setup:
            raise ValueError(
                "name a container with Python, Ray and veedor's dependencies, or commands under setup that "
                "install them"
            )
        return self

    @model_validator(mode="after")
    def _has_workers(self) -> Self:
        if "head" in self.workers:
            raise ValueError("workers: 'head' is the head's own name: call these machines otherwise")
        return self


ClusterSpec = LocalClusterSpec | AwsClusterSpec
PROVIDERS: Final[dict[str, type[ClusterSpec]]] = {"local": LocalClusterSpec, "aws": AwsClusterSpec}


def read_cluster_spec(path: Path) -> ClusterSpec:
    """Read `cluster.yaml`.

    Raises:
        SpecError: if it cannot be read, or is not valid, with a line for each thing that is wrong.
    """
    return build_cluster_spec(read_spec_file(path), name=str(path))


def build_cluster_spec(content: dict[str, Any], *, name: str) -> ClusterSpec:
    """Validate the content of a `cluster.yaml`; raises `SpecError`."""
    provider = content.get("provider", "local")
    if provider not in PROVIDERS:
        hint = did_you_mean(str(provider), PROVIDERS)
        raise SpecError(
            f"{name}: there is no provider {provider!r}.{hint} Providers: {', '.join(sorted(PROVIDERS))}; "
            "for Kubernetes see veedor manifest"
        )
    return validate_spec(content, PROVIDERS[provider], name=name)
