"""What a manifest needs to know beside the job's spec: the section `kubernetes` of a `cluster.yaml`."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from cluster.kubernetes.names import dns_label, dns_subdomain, image_reference, label_key, label_value
from cluster.spec_file import read_spec_file
from jobs.spec import Section, validate_spec

GPU_RESOURCE: Final = "nvidia.com/gpu"
USER_ID: Final = 1000
"""Of the image's user; Ray's own images have the same."""

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_NAME = re.compile(r"SECRET|TOKEN|PASSW|CREDENTIAL|API_?KEY|ACCESS_KEY|PRIVATE_KEY", re.IGNORECASE)
_ABOUT_A_FILE = ("_FILE", "_PATH", "_DIR")
_OPERATORS = frozenset(
    "RAY_ADDRESS RAY_AUTH_MODE RAY_AUTH_TOKEN RAY_AUTH_TOKEN_PATH RAY_enable_autoscaler_v2 RAY_REDIS_ADDRESS "
    "REDIS_USERNAME REDIS_PASSWORD".split()
)

ObjectName = Annotated[str, AfterValidator(dns_subdomain)]
Labels = dict[Annotated[str, AfterValidator(label_key)], Annotated[str, AfterValidator(label_value)]]
Effect = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
Seconds = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Toleration(Section):
    """A taint that a node may have. Without a value, any; without an effect, all."""

    key: Annotated[str, AfterValidator(label_key)]
    value: Annotated[str, AfterValidator(label_value)] | None = None
    effect: Effect | None = None


class Volume(Section):
    """A claim (of a PersistentVolume), and where its content is found in every pod."""

    claim: ObjectName
    path: str
    read_only: bool = False

    @model_validator(mode="after")
    def _own_folder(self) -> Self:
        path = PurePosixPath(self.path)
        taken = ("/", "/etc", "/dev", "/proc", "/sys", "/tmp")
        if not path.is_absolute() or ".." in path.parts or ":" in self.path or str(path) in taken:
            raise ValueError(f"{self.path!r} is no folder to mount a volume at: give one such as /data")
        return self


class NodeGroup(Section):
    """Pods of one kind, each a node of the Ray cluster.

    Attributes:
        cpus, memory_gib: of each; asked for and not exceeded.
        min, max: how many. None: what the job needs to start, and no more.
        node_selector: labels that the machines have.
        tolerations: taints that they may have.
    """

    cpus: Annotated[int, Field(ge=1, le=1024)] = 4
    memory_gib: Annotated[float, Field(ge=1, le=65536)] = 16
    min: Annotated[int, Field(ge=0, le=10_000)] | None = None
    max: Annotated[int, Field(ge=0, le=10_000)] | None = None
    node_selector: Labels = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.min is not None and self.max is not None and self.max < self.min:
            raise ValueError(f"max ({self.max}) is below min ({self.min}): raise max or lower min")
        return self


class GpuGroup(NodeGroup):
    """Pods with GPUs.

    Attributes:
        gpus: of each, whole ones.
        resource: what the device plugin calls them.
    """

    cpus: Annotated[int, Field(ge=1, le=1024)] = 8
    memory_gib: Annotated[float, Field(ge=1, le=65536)] = 32
    gpus: Annotated[int, Field(ge=1, le=64)] = 1
    resource: str = GPU_RESOURCE
    tolerations: tuple[Toleration, ...] = (Toleration(key=GPU_RESOURCE, effect="NoSchedule"),)


class HeadGroup(Section):
    """The pod that schedules, and where the job's driver runs; its CPUs are no resource of the cluster."""

    cpus: Annotated[float, Field(gt=0, le=1024)] = 2
    memory_gib: Annotated[float, Field(ge=1, le=65536)] = 8
    node_selector: Labels = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()


class KubernetesSection(Section):
    """Where and how a job runs in Kubernetes.

    Attributes:
        image: with this version of veedor, and so of Ray.
        service_account: whose identity the pods have; by it they may reach the buckets.
        secrets: names of Secrets whose keys become environment variables.
        env: other variables, for all to read.
        queue: Kueue's LocalQueue that admits the job.
        token_secret: a Secret with Ray's token under the key `auth_token`; None: the operator makes one.
        retries: how often a job that failed is started again; it goes on where it stopped.
        ttl_s: after so long, the pods of a job that is over are removed.
        deadline_s: a job that takes longer is ended.
        idle_s: after so long without work, nodes above `min` are returned.
    """

    image: Annotated[str, AfterValidator(image_reference)] | None = None
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    pull_secrets: tuple[ObjectName, ...] = ()
    namespace: Annotated[str, AfterValidator(dns_label)] | None = None
    service_account: ObjectName | None = None
    secrets: tuple[ObjectName, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()
    labels: Labels = Field(default_factory=dict)
    queue: Annotated[str, AfterValidator(dns_label)] | None = None
    user_id: Annotated[int, Field(ge=1, le=2**31 - 1)] = USER_ID
    token_secret: ObjectName | None = None
    head: HeadGroup = HeadGroup()
    cpu_nodes: NodeGroup = NodeGroup()
    gpu_nodes: GpuGroup | None = None
    retries: Annotated[int, Field(ge=0, le=100)] = 2
    ttl_s: Annotated[int, Field(ge=0, le=2**31 - 1)] = 3600
    deadline_s: Seconds | None = None
    idle_s: Seconds = 60

    @model_validator(mode="after")
    def _plain_env(self) -> Self:
        for name in self.env:
            if not _ENV_NAME.fullmatch(name):
                raise ValueError(f"env: {name!r} is no name of a variable (letters, digits and '_')")
            if name in _OPERATORS:
                raise ValueError(f"env: {name} is set by KubeRay's operator: leave it out")
            if _SECRET_NAME.search(name) and not name.endswith(_ABOUT_A_FILE):
                raise ValueError(
                    f"env: {name} would stand in the manifest for all to read: put it into a Secret "
                    f"(kubectl create secret generic NAME --from-literal {name}=…) and name that with "
                    "--secret"
                )
        return self

    @model_validator(mode="after")
    def _apart(self) -> Self:
        paths = [PurePosixPath(volume.path) for volume in self.volumes]
        if len(set(paths)) < len(paths):
            raise ValueError("volumes: two are mounted at the same path: give each its own")
        return self


class KubernetesFile(Section):
    """A file whose section `kubernetes` is read."""

    kubernetes: KubernetesSection


def read_options(file: Path | None, given: dict[str, Any]) -> KubernetesSection:
    """Options of a file's section `kubernetes`, if one is named, with those of the command line over them.

    Raises:
        SpecError: if the file cannot be read, or something is wrong, with a line for each.
    """
    if file is None:
        return validate_spec(given, KubernetesSection, name="the command line")
    content = read_spec_file(file)
    section = content.get("kubernetes")
    if isinstance(section, dict):
        content = {**content, "kubernetes": overlaid(section, given)}
    return validate_spec(content, KubernetesFile, name=str(file)).kubernetes


def overlaid(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Mappings in each other's place key by key; lists and all else whole."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = overlaid(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged
