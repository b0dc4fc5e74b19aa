"""KubeRay's RayCluster: a head that does not compute, and groups of workers."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from cluster.kubernetes.options import GpuGroup, KubernetesSection
from cluster.kubernetes.pods import (
    RESTRICTED,
    ContainerParts,
    Manifest,
    container,
    pod_template,
    shared_memory_gib,
)
from cluster.kubernetes.quantities import cpus, gib, requests_and_limits
from cluster.kubernetes.sizes import Fleet, SizedGroup

HEAD_PORTS: Final = (("gcs", 6379), ("dashboard", 8265), ("client", 10001), ("metrics", 8080))
WORKER_PORTS: Final = (("metrics", 8080),)
AUTOSCALER_LIMITS: Final = {"cpu": "500m", "memory": "512Mi"}


def ray_cluster_spec(options: KubernetesSection, fleet: Fleet, *, spec_map: str | None) -> Manifest:
    """The `spec` of a RayCluster; with the job's spec at the head if `spec_map` names its ConfigMap."""
    auth = {"mode": "token"}
    if options.token_secret is not None:
        auth["secretName"] = options.token_secret
    made: Manifest = {
        "rayVersion": version("ray"),
        "authOptions": auth,
        "enableInTreeAutoscaling": fleet.grows,
    }
    if fleet.grows:
        made["autoscalerOptions"] = {
            "version": "v2",
            "upscalingMode": "Default",
            "idleTimeoutSeconds": options.idle_s,
            "imagePullPolicy": options.pull_policy,
            "securityContext": dict(RESTRICTED),
            "resources": requests_and_limits(AUTOSCALER_LIMITS),
        }
    made["headGroupSpec"] = _head(options, spec_map, uses_api=fleet.grows)
    made["workerGroupSpecs"] = [_workers(options, group) for group in fleet.groups]
    return made


def _head(options: KubernetesSection, spec_map: str | None, *, uses_api: bool) -> Manifest:
    head = options.head
    shared = shared_memory_gib(head.memory_gib)
    parts = ContainerParts(
        "ray-head",
        {"cpu": cpus(head.cpus), "memory": gib(head.memory_gib)},
        ports=HEAD_PORTS,
        shared_memory_gib=shared,
    )
    return {
        # What computes here would starve the driver, and the cluster's books.
        "rayStartParams": {"num-cpus": "0"},
        "template": pod_template(
            [container(parts, options, spec_map=spec_map)],
            options,
            group=head,
            spec_map=spec_map,
            shared_memory_gib=shared,
            uses_api=uses_api,
        ),
    }


def _workers(options: KubernetesSection, sized: SizedGroup) -> Manifest:
    group = sized.group
    shared = shared_memory_gib(group.memory_gib)
    limits = {"cpu": cpus(group.cpus), "memory": gib(group.memory_gib)}
    if isinstance(group, GpuGroup):
        limits[group.resource] = str(group.gpus)
    parts = ContainerParts("ray-worker", limits, ports=WORKER_PORTS, shared_memory_gib=shared)
    return {
        "groupName": "gpu" if isinstance(group, GpuGroup) else "cpu",
        "replicas": sized.minimum,
        "minReplicas": sized.minimum,
        "maxReplicas": sized.maximum,
        "rayStartParams": {},
        "template": pod_template(
            [container(parts, options, spec_map=None)],
            options,
            group=group,
            shared_memory_gib=shared,
        ),
    }
