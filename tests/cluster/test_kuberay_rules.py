"""The checkers of manifests, tried on KubeRay's own samples and on manifests that are wrong on purpose."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from tests.cluster.crds import FOLDER, needs_crds, refusals
from tests.cluster.kuberay_rules import Manifest, violations

GATES = ("RayCronJob", "RayJobDeletionPolicy")
SAMPLES = sorted(FOLDER.glob("samples/*.yaml"))
DELETE = object()


def cluster_spec() -> Manifest:
    container = {"name": "ray", "image": "rayproject/ray:2.60.0"}
    return {
        "rayVersion": "2.60.0",
        "headGroupSpec": {"rayStartParams": {}, "template": {"spec": {"containers": [dict(container)]}}},
        "workerGroupSpecs": [
            {
                "groupName": "cpu",
                "replicas": 1,
                "minReplicas": 1,
                "maxReplicas": 1,
                "rayStartParams": {},
                "template": {"spec": {"containers": [dict(container)]}},
            }
        ],
    }


def example(kind: str) -> Manifest:
    """A manifest that is right."""
    job = {"entrypoint": "true", "rayClusterSpec": cluster_spec()}
    specs: dict[str, Manifest] = {
        "RayCluster": cluster_spec(),
        "RayJob": job,
        "RayCronJob": {"schedule": "0 2 * * *", "timeZone": "Europe/Madrid", "jobTemplate": job},
    }
    return {"apiVersion": "ray.io/v1", "kind": kind, "metadata": {"name": "x"}, "spec": specs[kind]}


def altered(kind: str, changes: dict[str, Any]) -> Manifest:
    """An example with values put in, or taken out, at paths such as `spec.workerGroupSpecs.0.replicas`."""
    manifest = copy.deepcopy(example(kind))
    for path, value in changes.items():
        *way, last = path.split(".")
        at: Any = manifest
        for step in way:
            at = at[int(step)] if isinstance(at, list) else at.setdefault(step, {})
        if value is DELETE:
            del at[last]
        else:
            at[last] = value
    return manifest


def manifests_of(text: str) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(text) if document["kind"].startswith("Ray")]


@needs_crds
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_kuberays_samples_are_taken(sample: Any) -> None:
    manifests = manifests_of(sample.read_text())
    assert manifests
    for manifest in manifests:
        assert refusals(manifest) == []
        assert violations(manifest, gates=GATES) == []


@pytest.mark.parametrize("kind", ["RayCluster", "RayJob", "RayCronJob"])
def test_the_examples_are_right(kind: str) -> None:
    assert violations(example(kind), gates=GATES) == []


HEAD = "spec.headGroupSpec"
JOB_HEAD = "spec.rayClusterSpec.headGroupSpec"
GROUP = "spec.workerGroupSpecs.0"
V2 = {"spec.enableInTreeAutoscaling": True, "spec.autoscalerOptions": {"version": "v2"}}
V2_ENV = [{"name": "ray", "image": "x", "env": [{"name": "RAY_enable_autoscaler_v2", "value": "1"}]}]
CHOSEN = {"spec.rayClusterSpec": DELETE, "spec.clusterSelector": {"ray.io/cluster": "mine"}}
SIDECAR = {"spec.submissionMode": "SidecarMode"}


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        pytest.param("RayCluster", {"metadata.name": "x" * 54}, "more than 53", id="long cluster name"),
        pytest.param("RayJob", {"metadata.name": "x" * 48}, "more than 47", id="long job name"),
        pytest.param("RayCronJob", {"metadata.name": "x" * 37}, "more than 36", id="long cron job name"),
        pytest.param("RayJob", {"metadata.name": "2x"}, "DNS-1035", id="name begins with a digit"),
        pytest.param("RayJob", {"metadata.name": "A"}, "DNS-1035", id="capital in a name"),
        pytest.param("RayJob", {"spec.rayClusterSpec": DELETE}, "one of", id="no cluster"),
        pytest.param(
            "RayJob", {"spec.clusterSelector": {"ray.io/cluster": "a"}}, "one of", id="two clusters"
        ),
        pytest.param(
            "RayJob",
            {**CHOSEN, "spec.clusterSelector": {"ray.io/cluster": ""}},
            "empty name",
            id="chosen cluster without a name",
        ),
        pytest.param(
            "RayJob",
            {**CHOSEN, "spec.suspend": True, "spec.shutdownAfterJobFinishes": True},
            "excludes suspend",
            id="chosen cluster, suspended",
        ),
        pytest.param("RayJob", {**CHOSEN, "spec.backoffLimit": 1}, "excludes backoff", id="chosen, retried"),
        pytest.param("RayJob", {**CHOSEN, **SIDECAR}, "excludes Sidecar", id="chosen, with a sidecar"),
        pytest.param(
            "RayJob",
            {"spec.submissionMode": "InteractiveMode", "spec.backoffLimit": 1},
            "InteractiveMode",
            id="interactive, retried",
        ),
        pytest.param("RayJob", {"spec.backoffLimit": -1}, "negative", id="negative retries"),
        pytest.param("RayJob", {"spec.activeDeadlineSeconds": 0}, "not positive", id="no time"),
        pytest.param("RayJob", {"spec.preRunningDeadlineSeconds": 0}, "not positive", id="no time to start"),
        pytest.param(
            "RayJob",
            {"spec.ttlSecondsAfterFinished": -1, "spec.shutdownAfterJobFinishes": True},
            "negative",
            id="negative ttl",
        ),
        pytest.param("RayJob", {"spec.ttlSecondsAfterFinished": 5}, "needs shutdown", id="ttl of what stays"),
        pytest.param("RayJob", {"spec.suspend": True}, "suspend needs", id="suspended, and stays"),
        pytest.param(
            "RayJob",
            {
                "spec.ttlSecondsAfterFinished": 5,
                "spec.shutdownAfterJobFinishes": True,
                "spec.deletionStrategy": {"deletionRules": [{}]},
            },
            "excludes deletionRules",
            id="ttl and deletion rules",
        ),
        pytest.param(
            "RayJob",
            {**SIDECAR, "spec.submitterPodTemplate": {}},
            "submitterPodTemplate",
            id="sidecar and pod",
        ),
        pytest.param(
            "RayJob", {**SIDECAR, "spec.submitterConfig": {}}, "submitterConfig", id="sidecar and config"
        ),
        pytest.param(
            "RayJob",
            {**SIDECAR, f"{JOB_HEAD}.template.spec.restartPolicy": "Always"},
            "restartPolicy",
            id="sidecar in a head that restarts",
        ),
        pytest.param("RayJob", {"spec.runtimeEnvYAML": "a: [1"}, "no YAML", id="torn runtime env"),
        pytest.param(
            "RayCluster", {f"{HEAD}.template.spec.containers": []}, "head: no container", id="empty head"
        ),
        pytest.param(
            "RayCluster", {f"{GROUP}.template.spec.containers": []}, "cpu: no container", id="empty worker"
        ),
        pytest.param("RayCluster", {f"{GROUP}.maxReplicas": DELETE}, "without autoscaling", id="no maximum"),
        pytest.param("RayCluster", {f"{GROUP}.minReplicas": DELETE}, "without autoscaling", id="no minimum"),
        pytest.param("RayCluster", {f"{GROUP}.minReplicas": 2}, "not 0 <=", id="minimum above maximum"),
        pytest.param("RayCluster", {f"{GROUP}.minReplicas": -1}, "not 0 <=", id="negative minimum"),
        pytest.param(
            "RayCluster",
            {f"{GROUP}.rayStartParams": {"num-gpus": "1"}, f"{GROUP}.resources": {"GPU": "1"}},
            "two places",
            id="resources twice",
        ),
        pytest.param(
            "RayCluster", {f"{HEAD}.rayStartParams": {"labels": "a=b"}}, "labels", id="labels as a parameter"
        ),
        pytest.param(
            "RayCluster",
            {**V2, f"{HEAD}.template.spec.containers": V2_ENV},
            "and autoscalerOptions.version",
            id="v2 in two places",
        ),
        pytest.param(
            "RayCluster",
            {f"{HEAD}.template.spec.containers": V2_ENV},
            "without autoscaling",
            id="v2 without autoscaling",
        ),
        pytest.param(
            "RayCluster",
            {**V2, f"{HEAD}.template.spec.restartPolicy": "Always"},
            "head: restartPolicy",
            id="v2 and a head that restarts",
        ),
        pytest.param(
            "RayCluster",
            {**V2, f"{GROUP}.template.spec.restartPolicy": "OnFailure"},
            "cpu: restartPolicy",
            id="v2 and workers that restart",
        ),
        pytest.param(
            "RayCluster", {f"{GROUP}.idleTimeoutSeconds": 5}, "idleTimeoutSeconds", id="idle without v2"
        ),
        pytest.param(
            "RayCluster",
            {"spec.authOptions": {"mode": "token"}, "spec.rayVersion": DELETE},
            "not set",
            id="token, and any Ray",
        ),
        pytest.param(
            "RayCluster",
            {"spec.authOptions": {"mode": "token"}, "spec.rayVersion": "2.51.9"},
            "too old",
            id="token, and an old Ray",
        ),
        pytest.param(
            "RayJob",
            {"spec.rayClusterSpec.authOptions": {"mode": "token", "enableK8sTokenAuth": True}},
            "not for jobs",
            id="Kubernetes token of a job",
        ),
        pytest.param("RayCluster", {"spec.networkPolicy": {}}, "networkPolicy", id="network policy"),
        pytest.param("RayCluster", {"spec.tlsOptions": {}}, "tlsOptions", id="TLS"),
        pytest.param("RayCronJob", {"spec.schedule": "TZ=UTC 0 2 * * *"}, "time zone", id="zone in the line"),
        pytest.param("RayCronJob", {"spec.schedule": "0 2 * *"}, "five-field", id="four fields"),
        pytest.param("RayCronJob", {"spec.schedule": "0 2 30 2 X"}, "five-field", id="no cron line"),
        pytest.param("RayCronJob", {"spec.timeZone": ""}, "timeZone", id="empty zone"),
        pytest.param("RayCronJob", {"spec.timeZone": "Europe/Madird"}, "timeZone", id="unknown zone"),
        pytest.param(
            "RayCronJob", {"spec.jobTemplate.backoffLimit": -1}, "negative", id="cron job of a wrong job"
        ),
    ],
)
def test_what_the_operator_refuses_is_found(kind: str, changes: dict[str, Any], message: str) -> None:
    said = violations(altered(kind, changes), gates=GATES)
    assert len(said) == 1, said
    assert message in said[0]


@pytest.mark.parametrize(
    ("kind", "changes", "gate"),
    [
        pytest.param("RayCronJob", {}, "RayCronJob", id="cron jobs"),
        pytest.param(
            "RayJob", {"spec.deletionStrategy": {"deletionRules": [{}]}}, "deletionStrategy", id="deletion"
        ),
    ],
)
def test_feature_gates_are_closed_by_default(kind: str, changes: dict[str, Any], gate: str) -> None:
    said = violations(altered(kind, changes))
    assert len(said) == 1
    assert gate in said[0]
    assert "feature gate" in said[0]


@needs_crds
@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        pytest.param("RayJob", {"spec.entrypiont": "x"}, "entrypiont", id="unknown field"),
        pytest.param("RayJob", {"spec.backoffLimit": "2"}, "not of type 'integer'", id="text for a number"),
        pytest.param(
            "RayCluster", {f"{HEAD}.template": DELETE}, "'template' is a required", id="missing field"
        ),
        pytest.param(
            "RayCluster", {"spec.authOptions": {"mode": "tokens"}}, "not one of", id="no value of an enum"
        ),
        pytest.param(
            "RayCluster",
            {
                f"{GROUP}.template.spec.containers": [
                    {"name": "a", "resources": {"limits": {"cpu": "4 CPUs"}}}
                ]
            },
            "does not match",
            id="no quantity",
        ),
        pytest.param("RayCluster", {"spec.managedBy": "me"}, "must be either", id="CEL: a value"),
        pytest.param(
            "RayJob",
            {"spec.deletionStrategy": {}},
            "requires either BOTH",
            id="CEL: has()",
        ),
    ],
)
def test_what_the_crds_refuse_is_found(kind: str, changes: dict[str, Any], message: str) -> None:
    assert refusals(example(kind)) == []
    said = refusals(altered(kind, changes))
    assert any(message in each for each in said), said


@needs_crds
def test_a_rule_about_changes_sees_both_sides() -> None:
    was = altered("RayCluster", {"spec.managedBy": "ray.io/kuberay-operator"})
    will_be = altered("RayCluster", {"spec.managedBy": "kueue.x-k8s.io/multikueue"})
    assert refusals(was) == refusals(will_be) == refusals(was, before=was) == []
    assert refusals(will_be, before=was) == ["$.spec.managedBy: the managedBy field is immutable"]
