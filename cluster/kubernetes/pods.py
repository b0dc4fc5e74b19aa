"""Pods: containers that may do no more than they must, with the job's spec, secrets and volumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from cluster.kubernetes.options import USER_ID, HeadGroup, KubernetesSection, NodeGroup, Toleration
from cluster.kubernetes.quantities import gib, requests_and_limits

SPEC_FOLDER: Final = "/etc/veedor"
SPEC_FILE: Final = "spec.yaml"
SPEC_PATH: Final = f"{SPEC_FOLDER}/{SPEC_FILE}"
SHARED_MEMORY_FRACTION: Final = 0.35
"""Of a pod's memory: Ray's object store, which takes 30%, lies in it."""

RESTRICTED: Final = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What Kubernetes' Pod Security Standard `restricted` asks of a container."""

LIGHT_LIMITS: Final = {"cpu": "500m", "memory": "1Gi"}
"""Of a container that asks others to work."""

Manifest = dict[str, Any]


@dataclass(frozen=True)
class ContainerParts:
    """A container that runs the image.

    Attributes:
        name: of the container.
        limits: what it asks for and does not exceed; what is `memory` there, Ray's store takes its part of.
        command: None leaves it to the operator.
        ports: by name.
        shared_memory: whether a Ray node runs in it.
    """

    name: str
    limits: dict[str, str]
    command: tuple[str, ...] | None = None
    ports: tuple[tuple[str, int], ...] = ()
    shared_memory_gib: float | None = None


def container(parts: ContainerParts, options: KubernetesSection, *, spec_map: str | None) -> Manifest:
    """A container with the options' environment and volumes; with the spec if `spec_map` names its map."""
    made: Manifest = {
        "name": parts.name,
        "image": options.image,
        "imagePullPolicy": options.pull_policy,
        "securityContext": dict(RESTRICTED),
        "resources": requests_and_limits(parts.limits),
    }
    if parts.command is not None:
        made["command"] = [_literal(word) for word in parts.command]
    if parts.ports:
        made["ports"] = [{"name": name, "containerPort": port} for name, port in parts.ports]
    env = _home(options) | options.env
    if env:
        made["env"] = [{"name": name, "value": _literal(value)} for name, value in sorted(env.items())]
    if options.secrets:
        made["envFrom"] = [{"secretRef": {"name": name}} for name in options.secrets]
    mounts = [
        {"name": _volume_name(index), "mountPath": volume.path}
        | ({"readOnly": True} if volume.read_only else {})
        for index, volume in enumerate(options.volumes)
    ]
    if parts.shared_memory_gib is not None:
        mounts.append({"name": "shared-mem", "mountPath": "/dev/shm"})
    if spec_map is not None:
        mounts.append({"name": "spec", "mountPath": SPEC_FOLDER, "readOnly": True})
    if mounts:
        made["volumeMounts"] = mounts
    return made


def pod_template(
    containers: list[Manifest],
    options: KubernetesSection,
    *,
    group: NodeGroup | HeadGroup | None = None,
    spec_map: str | None = None,
    shared_memory_gib: float | None = None,
    uses_api: bool = False,
) -> Manifest:
    """A pod's template.

    Args:
        containers: its.
        options: the job's.
        group: which machines it may run on; None: any.
        spec_map: ConfigMap with the spec, where containers mount it.
        shared_memory_gib: of `/dev/shm`, where containers mount it.
        uses_api: whether it speaks with Kubernetes, as the head's autoscaler does.
    """
    spec: Manifest = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": options.user_id,
            "runAsGroup": options.user_id,
            "fsGroup": options.user_id,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "enableServiceLinks": False,
        "containers": containers,
    }
    if not uses_api:
        spec["automountServiceAccountToken"] = False
    if options.service_account is not None:
        spec["serviceAccountName"] = options.service_account
    if options.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in options.pull_secrets]
    if group is not None and group.node_selector:
        spec["nodeSelector"] = dict(group.node_selector)
    if group is not None and group.tolerations:
        spec["tolerations"] = [toleration(each) for each in group.tolerations]
    volumes: list[Manifest] = [
        {
            "name": _volume_name(index),
            "persistentVolumeClaim": {"claimName": volume.claim}
            | ({"readOnly": True} if volume.read_only else {}),
        }
        for index, volume in enumerate(options.volumes)
    ]
    if shared_memory_gib is not None:
        store = {"medium": "Memory", "sizeLimit": gib(shared_memory_gib)}
        volumes.append({"name": "shared-mem", "emptyDir": store})
    if spec_map is not None:
        volumes.append({"name": "spec", "configMap": {"name": spec_map}})
    if volumes:
        spec["volumes"] = volumes
    template: Manifest = {"spec": spec}
    if options.labels:
        template = {"metadata": {"labels": dict(options.labels)}, **template}
    return template


def shared_memory_gib(memory_gib: float) -> float:
    """Of `/dev/shm`, in whole MiB; what is written there counts as the pod's memory."""
    return round(memory_gib * SHARED_MEMORY_FRACTION * 1024) / 1024


def toleration(asked: Toleration) -> Manifest:
    made: Manifest = {"key": asked.key, "operator": "Exists" if asked.value is None else "Equal"}
    if asked.value is not None:
        made["value"] = asked.value
    if asked.effect is not None:
        made["effect"] = asked.effect
    return made


def _home(options: KubernetesSection) -> dict[str, str]:
    """Ray writes into its user's home, and only the image's own user has one."""
    return {} if options.user_id == USER_ID else {"HOME": "/tmp"}


def _literal(text: str) -> str:
    """Kubernetes puts variables in for `$(NAME)`; a doubled `$` keeps it from that."""
    return text.replace("$(", "$$(")


def _volume_name(index: int) -> str:
    return f"data-{index + 1}"
