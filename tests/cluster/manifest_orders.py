"""Orders of manifests, and what every manifest has to be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import yaml

from cluster.kubernetes.cron_job import Schedule
from cluster.kubernetes.manifests import API_VERSIONS, Kind, Order
from cluster.kubernetes.options import KubernetesSection
from cluster.kubernetes.yaml_text import yaml_text
from jobs.catalog import find_job
from jobs.resources import ClusterShape, NodeShape
from jobs.spec import validate_spec
from tests.cluster.crds import FOLDER, refusals
from tests.cluster.kuberay_rules import Manifest, violations

KUBERNETES_VERSION = "1.37"
IMAGE = "registry.example/veedor:0.1.0"
DIGEST = f"registry.example:5000/vision/veedor@sha256:{'0' * 64}"
SPEC: Manifest = {"source": {"uri": "s3://fleet/photos/"}, "sink": {"uri": "s3://fleet/out/"}}
SCAN: Manifest = {**SPEC, "job": "scan", "model": {"name": "s3://models/line3/"}}
NIGHTLY = Schedule("line3", "s3://ops/veedor/", "0 2 * * *", "Europe/Madrid")


def order(
    content: Manifest | None = None,
    kind: Kind = "RayJob",
    *,
    name: str | None = None,
    schedule: Schedule | None = None,
    **options: Any,
) -> Order:
    content = content or SPEC
    spec = validate_spec(content, find_job(content).spec, name="spec.yaml")
    chosen = KubernetesSection.model_validate({"image": IMAGE, **options})
    if schedule is None and kind in ("CronJob", "RayCronJob"):
        schedule = NIGHTLY
    return Order(spec, chosen, kind, "line3", name, schedule)


def check(manifests: list[Manifest]) -> None:
    """All that can be said of manifests without a cluster."""
    assert list(yaml.safe_load_all(yaml_text(manifests))) == manifests
    for manifest in manifests:
        if manifest["kind"] in API_VERSIONS:
            assert (
                violations(manifest, gates=["RayCronJob"] if manifest["kind"] == "RayCronJob" else []) == []
            )
            if FOLDER.is_dir():
                assert refusals(manifest) == []
        else:
            kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)
        for pod in pods(manifest):
            check_restricted(pod)


def pods(value: Any) -> Iterator[Manifest]:
    """Every pod's spec in a manifest."""
    if isinstance(value, dict):
        if "containers" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from pods(each)


def check_restricted(pod: Manifest) -> None:
    """Kubernetes' Pod Security Standard `restricted`, and what this project asks for beside it."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert not any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC"))
    allowed = {"configMap", "emptyDir", "persistentVolumeClaim"}
    assert all(set(volume) - {"name"} <= allowed for volume in pod.get("volumes", ()))
    named = {volume["name"] for volume in pod.get("volumes", ())}
    for container in [*pod["containers"], *pod.get("initContainers", ())]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        resources = container["resources"]
        assert {"cpu", "memory"} <= set(resources["limits"])
        assert resources["limits"] == resources["requests"], "a guaranteed pod"
        mounted = [mount["name"] for mount in container.get("volumeMounts", ())]
        assert set(mounted) <= named, "every mount has its volume"
        assert len({mount["mountPath"] for mount in container.get("volumeMounts", ())}) == len(mounted)


def groups(manifest: Manifest) -> dict[str, Manifest]:
    spec = manifest["spec"]
    cluster = spec.get("rayClusterSpec", spec)
    return {group["groupName"]: group for group in cluster["workerGroupSpecs"]}


def shape_at_start(manifest: Manifest) -> ClusterShape:
    """The cluster that a job finds: the operator waits for the least number of nodes."""
    nodes: list[NodeShape] = []
    for group in groups(manifest).values():
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        node = NodeShape(float(limits["cpu"]), float(limits.get("nvidia.com/gpu", 0)))
        nodes += [node] * group["minReplicas"]
    return ClusterShape(tuple(nodes))
