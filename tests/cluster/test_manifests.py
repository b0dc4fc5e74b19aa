"""Manifests: taken by the CRDs, the operator's rules and Kubernetes' schemas; sized so that jobs run."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.kubernetes.cron_job import MINUTES, Schedule
from cluster.kubernetes.manifests import Kind, build_manifests
from cluster.kubernetes.options import KubernetesSection
from cluster.kubernetes.sizes import count_nodes, plan_fleet
from cvcore.errors import SpecError
from jobs.catalog import find_job
from jobs.resources import ClusterShape, NodeShape, plan_resources
from jobs.spec import ResourcesSection, validate_spec
from tests.cluster.kuberay_rules import Manifest
from tests.cluster.manifest_orders import (
    DIGEST,
    IMAGE,
    SCAN,
    SPEC,
    check,
    groups,
    order,
    pods,
    shape_at_start,
)


@pytest.mark.parametrize(
    ("content", "kind", "options"),
    [
        pytest.param(SPEC, "RayJob", {}, id="plain"),
        pytest.param({**SPEC, "resources": {"actors": 40}}, "RayJob", {}, id="ten CPU nodes"),
        pytest.param({**SPEC, "resources": {"gpus_per_actor": 1}}, "RayJob", {}, id="a GPU"),
        pytest.param({**SPEC, "resources": {"gpus_per_actor": 0.5}}, "RayCluster", {}, id="cluster"),
        pytest.param({**SPEC, "resources": {"gpus_per_actor": 1}}, "RayJob", {"queue": "batch"}, id="Kueue"),
        pytest.param(SPEC, "RayJob", {"cpu_nodes": {"max": 8}}, id="grows"),
        pytest.param(
            SPEC,
            "RayCluster",
            {"cpu_nodes": {"min": 0, "max": 8}, "token_secret": "token", "idle_s": 5},
            id="grows from nothing",
        ),
        pytest.param(
            SPEC,
            "RayJob",
            {
                "image": DIGEST,
                "pull_policy": "Always",
                "pull_secrets": ["registry"],
                "namespace": "vision",
                "service_account": "vision.reader",
                "secrets": ["s3", "hooks"],
                "env": {"AWS_ENDPOINT_URL": "http://minio.storage.svc:9000", "X": "$(HOME) \"'"},
                "volumes": [
                    {"claim": "photos", "path": "/data", "read_only": True},
                    {"claim": "results", "path": "/data/out"},
                ],
                "labels": {"team": "line3", "example.com/cost-centre": "17"},
                "user_id": 1234,
                "head": {"cpus": 0.5, "memory_gib": 1.5, "node_selector": {"pool": "system"}},
                "cpu_nodes": {"cpus": 16, "memory_gib": 64, "node_selector": {"pool": "cpu"}},
                "gpu_nodes": {
                    "gpus": 4,
                    "cpus": 48,
                    "memory_gib": 192,
                    "tolerations": [{"key": "gpu", "value": "h100"}, {"key": "spot", "effect": "NoExecute"}],
                },
                "retries": 0,
                "ttl_s": 0,
                "deadline_s": 7200,
            },
            id="everything",
        ),
        pytest.param(SCAN, "CronJob", {}, id="ticks"),
        pytest.param(
            SCAN, "CronJob", {"gpu_nodes": {}, "deadline_s": 600, "secrets": ["s3"]}, id="ticks with GPUs"
        ),
        pytest.param(SCAN, "RayCronJob", {}, id="Ray's cron job"),
    ],
)
def test_manifests_are_taken(content: Manifest, kind: Kind, options: Manifest) -> None:
    manifests = build_manifests(order(content, kind, **options))
    check(manifests)
    assert [each["kind"] for each in manifests] == ([kind] if kind == "RayCluster" else ["ConfigMap", kind])
    metadata = [each["metadata"] for each in manifests]
    assert {each.get("namespace") for each in metadata} == {options.get("namespace")}


def test_the_job_in_the_map_is_the_same_job() -> None:
    content = {**SCAN, "limits": {"max_failed_fraction": 0.1}, "storage": {"region": "eu-south-2"}}
    given = order(content)
    config, job = build_manifests(given)
    text = config["data"]["spec.yaml"]
    read = validate_spec(yaml.safe_load(text), find_job(yaml.safe_load(text)).spec, name="spec.yaml")
    assert read == given.spec
    assert config["immutable"] is True
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert job["metadata"]["annotations"]["veedor/spec-sha256"] == digest
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert {"name": "spec", "configMap": {"name": config["metadata"]["name"]}} in head["volumes"]
    assert job["spec"]["entrypoint"] == "veedor run /etc/veedor/spec.yaml"


def test_a_changed_spec_is_another_job_and_the_same_is_the_same() -> None:
    def names(content: Manifest, **more: Any) -> list[str]:
        return [each["metadata"]["name"] for each in build_manifests(order(content, **more))]

    other = {**SPEC, "annotate": {"min_score": 0.5}}
    assert names(SPEC) == names(dict(reversed(SPEC.items()))), "the order of keys decides nothing"
    assert set(names(SPEC)).isdisjoint(names(other))
    # Where the name is given, the map alone is another: a map is never changed under a running job.
    assert names(SPEC, name="mine")[1] == names(other, name="mine")[1] == "mine"
    assert names(SPEC, name="mine")[0] != names(other, name="mine")[0]


@pytest.mark.parametrize(
    ("asked", "options", "expected"),
    [
        pytest.param({}, {}, {"cpu": (1, 1)}, id="nothing is asked"),
        pytest.param({"actors": 4}, {}, {"cpu": (1, 1)}, id="as many actors as CPUs"),
        pytest.param({"actors": 5}, {}, {"cpu": (2, 2)}, id="one more"),
        pytest.param({"actors": 8, "cpus_per_actor": 1}, {}, {"cpu": (3, 3)}, id="room for writing"),
        pytest.param({"actors": 2}, {"cpu_nodes": {"max": 6}}, {"cpu": (1, 6)}, id="room to grow"),
        pytest.param({}, {"cpu_nodes": {"min": 3}}, {"cpu": (3, 3)}, id="more than needed"),
        pytest.param({"gpus_per_actor": 1}, {}, {"gpu": (1, 1), "cpu": (0, 1)}, id="a GPU"),
        pytest.param({}, {"gpu_nodes": {}}, {"gpu": (1, 1), "cpu": (0, 1)}, id="GPU nodes"),
        pytest.param(
            {"gpus_per_actor": 1, "actors": 6},
            {"gpu_nodes": {"gpus": 4, "cpus": 32}},
            {"gpu": (2, 2), "cpu": (0, 2)},
            id="four to a node",
        ),
        pytest.param(
            {"gpus_per_actor": 0.25, "actors": 6}, {}, {"gpu": (2, 2), "cpu": (0, 2)}, id="four to a GPU"
        ),
        pytest.param(
            {"gpus_per_actor": 1, "actors": 3, "cpus_per_actor": 4},
            {"gpu_nodes": {"gpus": 4, "cpus": 8}},
            {"gpu": (2, 2), "cpu": (0, 2)},
            id="CPUs bind",
        ),
        pytest.param({"gpus_per_actor": 1}, {"cpu_nodes": {"max": 0}}, {"gpu": (1, 1)}, id="no helpers"),
        pytest.param(
            {"gpus_per_actor": 1},
            {"cpu_nodes": {"min": 2}},
            {"gpu": (1, 1), "cpu": (2, 2)},
            id="helpers from the start",
        ),
        pytest.param({"gpus_per_actor": 1}, {"queue": "q"}, {"gpu": (1, 1)}, id="Kueue: no growing"),
    ],
)
def test_nodes_follow_from_the_spec(
    asked: Manifest, options: Manifest, expected: dict[str, tuple[int, int]]
) -> None:
    manifest = build_manifests(order({**SPEC, "resources": asked}, **options))[1]
    found = {name: (each["minReplicas"], each["maxReplicas"]) for name, each in groups(manifest).items()}
    assert found == expected
    plan = plan_resources(ResourcesSection.model_validate(asked), shape_at_start(manifest))
    assert plan.actors >= asked.get("actors", 1)
    grows = any(least < most for least, most in expected.values())
    assert manifest["spec"]["rayClusterSpec"]["enableInTreeAutoscaling"] is grows


def test_one_node_less_would_be_refused() -> None:
    asked = ResourcesSection(actors=9, cpus_per_actor=2)
    group = KubernetesSection().cpu_nodes
    count = count_nodes(asked, group)
    with pytest.raises(SpecError, match="room for"):
        plan_resources(asked, ClusterShape((NodeShape(group.cpus),) * (count - 1)))


def test_the_head_does_not_compute_and_holds_the_token() -> None:
    cluster = build_manifests(order(**{"token_secret": "mine"}))[1]["spec"]["rayClusterSpec"]
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    assert cluster["authOptions"] == {"mode": "token", "secretName": "mine"}


def test_another_user_than_the_images_has_a_home_too() -> None:
    for pod in pods(build_manifests(order(user_id=1234))):
        assert pod["securityContext"]["runAsUser"] == 1234
        assert {"name": "HOME", "value": "/tmp"} in pod["containers"][0]["env"]


def test_secrets_go_to_what_computes_alone() -> None:
    spec = build_manifests(order(secrets=["s3"], env={"AWS_REGION": "eu-south-2"}))[1]["spec"]
    (submitter,) = spec["submitterPodTemplate"]["spec"]["containers"]
    assert "envFrom" not in submitter
    for group in [spec["rayClusterSpec"]["headGroupSpec"], *spec["rayClusterSpec"]["workerGroupSpecs"]]:
        (container,) = group["template"]["spec"]["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": "s3"}}]
        assert container["env"] == [{"name": "AWS_REGION", "value": "eu-south-2"}]


def test_a_cron_job_looks_often_and_defines_the_schedule_first() -> None:
    spec = build_manifests(order(SCAN, "CronJob"))[1]["spec"]
    assert (spec["schedule"], spec["concurrencyPolicy"]) == ("*/10 * * * *", "Forbid")
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    (define,), (tick,) = pod["initContainers"], pod["containers"]
    assert tick["command"] == ["veedor", "tick", "--only", "line3", "--store", "s3://ops/veedor/"]
    assert define["command"][:3] == ["veedor", "schedule", "add"]
    options = dict(zip(define["command"], define["command"][1:], strict=False))
    assert options["--cron"] == "0 2 * * *"
    assert options["--timezone"] == "Europe/Madrid"
    assert options["--store"] == "s3://ops/veedor/"


def test_a_cron_job_that_submits_is_small_and_has_the_token_from_a_secret() -> None:
    schedule = Schedule("line3", "s3://ops/veedor/", "0 2 * * *", "UTC", submit="fleet-head-svc")
    content = {**SPEC, "resources": {"actors": 8, "gpus_per_actor": 1}, "sink": {"uri": "s3://out/{date}/"}}
    made = order(content, "CronJob", schedule=schedule, token_secret="fleet", secrets=["s3"])
    pod = build_manifests(made)[1]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (tick,) = pod["containers"]
    assert tick["command"][4:] == [
        *("--store", "s3://ops/veedor/", "--submit", "http://fleet-head-svc:8265", "--code", "installed")
    ]
    assert tick["resources"]["limits"] == {"cpu": "500m", "memory": "1Gi"}, "whatever the job needs"
    assert "tolerations" not in pod, "of nodes with GPUs"
    (token,) = [variable for variable in tick["env"] if variable["name"] == "RAY_AUTH_TOKEN"]
    assert token["valueFrom"] == {"secretKeyRef": {"name": "fleet", "key": "auth_token"}}
    assert "env" not in pod["initContainers"][0]
    check(build_manifests(made))
    with pytest.raises(SpecError, match=r"kubernetes\.token_secret"):
        build_manifests(order(content, "CronJob", schedule=schedule))


def test_variables_are_not_put_into_what_users_wrote() -> None:
    schedule = Schedule("a", "s3://ops/$(HOME)/", "0 2 * * *", "UTC")
    pod = build_manifests(order(SCAN, "CronJob", schedule=schedule))[1]["spec"]["jobTemplate"]["spec"]
    assert pod["template"]["spec"]["containers"][0]["command"][-1] == "s3://ops/$$(HOME)/"


names = st.from_regex(r"[a-z]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
label_values = st.from_regex(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,20}[A-Za-z0-9])?)?", fullmatch=True)
labels = st.dictionaries(names, label_values, max_size=2)
tolerations = st.lists(
    st.fixed_dictionaries(
        {"key": names},
        optional={"value": label_values, "effect": st.sampled_from(["NoSchedule", "NoExecute"])},
    ),
    max_size=2,
)
node_fields = {
    "cpus": st.integers(1, 64),
    "memory_gib": st.floats(1, 512),
    "min": st.integers(0, 6),
    "max": st.integers(0, 40),
    "node_selector": labels,
    "tolerations": tolerations,
}
node_groups = st.fixed_dictionaries({}, optional=node_fields)
gpu_groups = st.fixed_dictionaries({}, optional={**node_fields, "gpus": st.integers(1, 8)})
option_sets = st.fixed_dictionaries(
    {"image": st.sampled_from([IMAGE, DIGEST])},
    optional={
        "namespace": names,
        "service_account": names,
        "secrets": st.lists(names, max_size=2),
        "pull_secrets": st.lists(names, max_size=2),
        "env": st.dictionaries(st.from_regex(r"X_[A-Z]{1,5}", fullmatch=True), st.text(), max_size=3),
        "volumes": st.lists(
            st.fixed_dictionaries({"claim": names, "path": names.map("/mnt/{}".format)}), max_size=2
        ),
        "labels": labels,
        "queue": names,
        "user_id": st.integers(1, 65535),
        "token_secret": names,
        "cpu_nodes": node_groups,
        "gpu_nodes": gpu_groups,
        "retries": st.integers(0, 9),
        "ttl_s": st.integers(0, 9999),
        "deadline_s": st.integers(1, 9999),
        "idle_s": st.integers(1, 9999),
    },
)
asked_resources = st.fixed_dictionaries(
    {},
    optional={
        "actors": st.integers(1, 40),
        "gpus_per_actor": st.sampled_from([0, 0.25, 0.5, 1, 2]),
        "cpus_per_actor": st.sampled_from([0.5, 1, 2, 4]),
    },
)
REFUSALS = (
    "below min",
    "same path",
    "does not fit on nodes",
    "when it starts",
    "fixed size",
    "drop one of them",
    "drop the queue",
    "one pod",
)


@settings(max_examples=40, deadline=None)
@given(
    asked_resources, option_sets, st.sampled_from(["RayJob", "RayCluster", "RayCronJob", "CronJob"]), names
)
def test_whatever_the_options_a_manifest_is_taken_or_refused_with_a_reason(
    asked: Manifest, options: Manifest, kind: Kind, name: str
) -> None:
    try:
        manifests = build_manifests(order({**SCAN, "resources": asked}, kind, name=name, **options))
    except ValueError as error:  # of the options themselves
        reason = str(error)
    except SpecError as error:
        reason = str(error)
    else:
        check(manifests)
        if kind == "RayJob":
            plan = plan_resources(ResourcesSection(**asked), shape_at_start(manifests[1]))
            assert plan.actors >= asked.get("actors", 1)
        return
    assert any(known in reason for known in REFUSALS), reason


def test_more_actors_never_need_fewer_nodes() -> None:
    options = KubernetesSection()
    sizes = [plan_fleet(ResourcesSection(actors=n), options).model.minimum for n in range(1, 100)]
    assert sizes == sorted(sizes)
    assert sizes[-1] <= 100 / options.cpu_nodes.cpus + 1


@pytest.mark.parametrize("minutes", MINUTES)
def test_every_step_of_looks_is_taken(minutes: int) -> None:
    schedule = Schedule("a", "s3://b/", "0 2 * * *", "UTC", every_minutes=minutes)
    made = build_manifests(order(SCAN, "CronJob", schedule=schedule))
    check(made)
    minute, *rest = made[1]["spec"]["schedule"].split()
    assert rest == ["*"] * 4
    assert minute == ("0" if minutes == 60 else f"*/{minutes}")
