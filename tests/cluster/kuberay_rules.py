"""What KubeRay's operator (1.7) refuses beyond its CRDs: each rule yields what is wrong with a manifest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any
from zoneinfo import available_timezones

import yaml
from cronsim import CronSim, CronSimError

Manifest = dict[str, Any]
Rule = Callable[[Manifest, frozenset[str]], Iterator[str]]

MAX_CHARS = {"RayCluster": 53, "RayJob": 47, "RayCronJob": 36}
FIRST_WITH_TOKEN = (2, 52, 0)
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_RESOURCES = ("num-cpus", "num-gpus", "memory", "resources")
V2_VARIABLE = "RAY_enable_autoscaler_v2"


def violations(manifest: Manifest, *, gates: Iterable[str] = ()) -> list[str]:
    """What the operator, with these feature gates open, would say; empty if it takes the manifest."""
    return [said for rule in RULES[manifest["kind"]] for said in rule(manifest, frozenset(gates))]


def name_is_a_short_label(manifest: Manifest, gates: frozenset[str]) -> Iterator[str]:
    del gates
    metadata = manifest["metadata"]
    name = metadata.get("name") or metadata.get("generateName", "").rstrip("-")
    limit = MAX_CHARS[manifest["kind"]]
    if len(name) > limit:
        yield f"name: more than {limit} characters"
    if not _NAME.fullmatch(name):
        yield "name: no DNS-1035 label"


def cluster_is_made_or_chosen(manifest: Manifest, gates: frozenset[str]) -> Iterator[str]:
    del gates
    spec = manifest["spec"]
    chosen = spec.get("clusterSelector")
    if bool(chosen) == ("rayClusterSpec" in spec):
        yield "one of rayClusterSpec and clusterSelector"
    if chosen:
        if not chosen.get("ray.io/cluster"):
            yield "clusterSelector: empty name"
        for name, unset in (("suspend", False), ("backoffLimit", 0)):
            if spec.get(name, unset) != unset:
                yield f"clusterSelector excludes {name}"
        if spec.get("submissionMode") == "SidecarMode":
            yield "clusterSelector excludes SidecarMode"


def limits_are_positive(manifest: Manifest, gates: frozenset[str]) -> Iterator[str]:
    del gates
    spec = manifest["spec"]
    if spec.get("backoffLimit", 0) < 0:
        yield "backoffLimit: negative"
    if spec.get("backoffLimit", 0) > 0 and spec.get("submissionMode") == "InteractiveMode":
        yield "backoffLimit: not for InteractiveMode"
    for name in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if spec.get(name, 1) <= 0:
            yield f"{name}: not positive"


def removal_is_consistent(manifest: Manifest, gates: frozenset[str]) -> Iterator[str]:
    spec = manifest["spec"]
    ttl, ends = spec.get("ttlSecondsAfterFinished", 0), spec.get("shutdownAfterJobFinishes", False)
    if ttl < 0:
        yield "ttlSecondsAfterFinished: negative"
    if ttl > 0 and not ends:
        yield "ttlSecondsAfterFinished needs shutdownAfterJobFinishes"
    if spec.get("suspend") and not ends:
        yield "suspend needs shutdownAfterJobFinishes"
    strategy = spec.get("deletionStrategy")
    if strategy is not None and "RayJobDeletionPolicy" not in gates:
        yield "deletionStrategy: behind a feature gate"
    if strategy and strategy.get("deletionRules") and ttl:
        yield "ttlSecondsAfterFinished excludes deletionRules"


def sidecar_stands_alone(manifest: Manifest, gates: frozenset[str]) -> Iterator[str]:
    del gates
    spec = manifest["spec"]
    if spec.get("submissionMode") != "SidecarMode":
        return
    for name in ("submitterPodTemplate", "submitterConfig"):
        if name in spec:
            yield f"SidecarMode excludes {name}"
    head = spec.get("rayClusterSpec", {}).get("headGroupSpec")
    if head and _restart_policy(head) not in (None, "Never"):
        yield "SidecarMode: the head's restartPolicy"


def groups_are_whole(manifest: Manifest, gates: frozenset[str]) -> Iterator[str]:
    del gates
    for cluster in _clusters(manifest):
        for name, group in _groups(cluster):
            if not group["template"]["spec"].get("containers"):
                yield f"{name}: no container"
            parameters = group.get("rayStartParams") or {}
            if group.get("resources") and any(parameters.get(key) for key in _RESOURCES):
                yield f"{name}: resources in two places"
            if "labels" in parameters:
                yield f"{name}: labels in rayStartParams"
        for group in cluster.get("workerGroupSpecs", ()):
            least, most = group.get("minReplicas"), group.get("maxReplicas")
            if not cluster.get("enableInTreeAutoscaling") and (least is None or most is None):
                yield f"{group['groupName']}: without autoscaling, minReplicas and maxReplicas are set"
            if not 0 <= (least or 0) <= (most if most is not None else 2**31 - 1):
                yield f"{group['groupName']}: not 0 <= minReplicas <= maxReplicas"


def autoscaler_is_consistent(manifest: Manifest, gates: frozenset[str]) -> Iterator[str]:
    del gates
    for cluster in _clusters(manifest):
        options = cluster.get("autoscalerOptions") or {}
        containers = cluster["headGroupSpec"]["template"]["spec"].get("containers") or [{}]
        head_env = containers[0].get("env", ())
        by_env = {env["name"]: env.get("value") for env in head_env}.get(V2_VARIABLE)
        on = cluster.get("enableInTreeAutoscaling", False)
        v2 = on and (options.get("version") == "v2" or by_env in ("1", "true"))
        if by_env in ("1", "true") and not on:
            yield f"{V2_VARIABLE} without autoscaling"
        if on and by_env is not None and "version" in options:
            yield f"{V2_VARIABLE} and autoscalerOptions.version"
        for name, group in _groups(cluster):
            if v2 and _restart_policy(group) not in (None, "Never"):
                yield f"{name}: restartPolicy with autoscaler v2"
            if "idleTimeoutSeconds" in group and not v2:
                yield f"{name}: idleTimeoutSeconds without autoscaler v2"


def token_is_understood(manifest: Manifest, gates: frozenset[str]) -> Iterator[str]:
    del gates
    for cluster in _clusters(manifest):
        auth = cluster.get("authOptions") or {}
        if auth.get("mode") == "token":
            found = re.match(r"(\d+)\.(\d+)\.(\d+)", cluster.get("rayVersion", ""))
            if found is None:
                yield "token: rayVersion is not set"
            elif tuple(map(int, found.groups())) < FIRST_WITH_TOKEN:
                yield "token: rayVersion is too old"
        if auth.get("enableK8sTokenAuth") and manifest["kind"] != "RayCluster":
            yield "Kubernetes tokens are not for jobs"


def gates_are_open(manifest: Manifest, gates: frozenset[str]) -> Iterator[str]:
    for cluster in _clusters(manifest):
        for name, gate in (("networkPolicy", "RayClusterNetworkPolicy"), ("tlsOptions", "RayClusterMTLS")):
            if name in cluster and gate not in gates:
                yield f"{name}: behind a feature gate"


def runtime_env_is_yaml(manifest: Manifest, gates: frozenset[str]) -> Iterator[str]:
    del gates
    try:
        yaml.safe_load(manifest["spec"].get("runtimeEnvYAML", ""))
    except yaml.YAMLError:
        yield "runtimeEnvYAML: no YAML"


def times_are_cron(manifest: Manifest, gates: frozenset[str]) -> Iterator[str]:
    if "RayCronJob" not in gates:
        yield "RayCronJob: behind a feature gate"
    spec = manifest["spec"]
    line, zone = spec["schedule"], spec.get("timeZone")
    if "TZ" in line:
        yield "schedule: a time zone in it"
    elif len(line.split()) != 5 or not _is_cron(line):
        yield "schedule: no five-field cron line"
    if zone is not None and (not zone or zone not in available_timezones()):
        yield "timeZone: not known"


def template_is_a_job(manifest: Manifest, gates: frozenset[str]) -> Iterator[str]:
    job = {"kind": "RayJob", "metadata": {"name": "template"}, "spec": manifest["spec"]["jobTemplate"]}
    yield from violations(job, gates=gates)


CLUSTER_RULES: tuple[Rule, ...] = (
    groups_are_whole,
    autoscaler_is_consistent,
    token_is_understood,
    gates_are_open,
)
RULES: dict[str, tuple[Rule, ...]] = {
    "RayCluster": (name_is_a_short_label, *CLUSTER_RULES),
    "RayJob": (
        name_is_a_short_label,
        cluster_is_made_or_chosen,
        limits_are_positive,
        removal_is_consistent,
        sidecar_stands_alone,
        runtime_env_is_yaml,
        *CLUSTER_RULES,
    ),
    "RayCronJob": (name_is_a_short_label, times_are_cron, template_is_a_job),
}


def _clusters(manifest: Manifest) -> Iterator[Manifest]:
    spec = manifest["spec"]
    cluster = spec if manifest["kind"] == "RayCluster" else spec.get("rayClusterSpec")
    if cluster is not None:
        yield cluster


def _groups(cluster: Manifest) -> Iterator[tuple[str, Manifest]]:
    yield "head", cluster["headGroupSpec"]
    for group in cluster.get("workerGroupSpecs", ()):
        yield group["groupName"], group


def _restart_policy(group: Manifest) -> str | None:
    policy: str | None = group["template"]["spec"].get("restartPolicy")
    return policy


def _is_cron(line: str) -> bool:
    try:
        CronSim(line, datetime(2026, 1, 1))
    except CronSimError:
        return False
    return True
