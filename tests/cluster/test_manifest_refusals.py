"""What `veedor manifest` refuses, and what of it would have worked."""

from __future__ import annotations

import pytest

from cluster.kubernetes.manifests import Kind, build_manifests
from cluster.kubernetes.options import KubernetesSection
from cvcore.errors import SpecError
from jobs.spec import validate_spec
from tests.cluster.kuberay_rules import Manifest
from tests.cluster.manifest_orders import (
    IMAGE,
    SCAN,
    SPEC,
    check,
    order,
)

LOCAL = {**SPEC, "source": {"uri": "/data/photos"}}


@pytest.mark.parametrize(
    ("content", "kind", "options", "message"),
    [
        pytest.param(
            LOCAL, "RayJob", {}, r"source.uri is /data/photos.*--volume CLAIM:/data", id="local source"
        ),
        pytest.param({**SPEC, "sink": {"uri": "/out"}}, "RayJob", {}, "sink.uri is /out", id="local sink"),
        pytest.param(
            {**SPEC, "model": {"name": "/models/a.cfg", "weights": "s3://m/a.weights"}},
            "RayJob",
            {},
            "model.name is /models/a.cfg",
            id="local model",
        ),
        pytest.param(
            {**SPEC, "model": {"name": "tiny", "labels": "/names.txt"}},
            "RayJob",
            {},
            "model.labels is /names.txt",
            id="local labels",
        ),
        pytest.param(
            {**SCAN, "calibration": "/cal.json"}, "RayJob", {}, "calibration is /cal.json", id="calibration"
        ),
        pytest.param(
            {**SPEC, "sink": {"uri": "/data/out"}},
            "RayJob",
            {"volumes": [{"claim": "a", "path": "/data", "read_only": True}]},
            "without ':ro'",
            id="sink on what is read only",
        ),
        pytest.param(
            {**SPEC, "sink": {"uri": "s3://fleet/{date}/"}},
            "RayJob",
            {},
            r"\{date\}",
            id="a place to fill in",
        ),
        pytest.param(
            {**SPEC, "storage": {"profile": "work"}}, "RayJob", {}, "storage.profile is 'work'", id="profile"
        ),
        pytest.param(
            {**SPEC, "storage": {"endpoint_url": "http://127.0.0.1:9000"}},
            "RayJob",
            {},
            "the pod itself",
            id="endpoint on this machine",
        ),
        pytest.param(
            {**SPEC, "resources": {"gpus_per_actor": 2}},
            "RayJob",
            {},
            "does not fit on nodes",
            id="big actor",
        ),
        pytest.param(
            {**SPEC, "resources": {"cpus_per_actor": 8}}, "RayJob", {}, "actor of 8 CPUs does not", id="CPUs"
        ),
        pytest.param(
            {**SPEC, "resources": {"actors": 9}},
            "RayJob",
            {"cpu_nodes": {"max": 2}},
            "needs 3 nodes of 4 CPUs when it starts, and max is 2",
            id="too few at most",
        ),
        pytest.param(
            {**SPEC, "resources": {"actors": 9}},
            "RayJob",
            {"cpu_nodes": {"min": 1, "max": 9}},
            "min is 1",
            id="too few at first",
        ),
        pytest.param(
            {**SPEC, "resources": {"gpus_per_actor": 0}},
            "RayJob",
            {"gpu_nodes": {}},
            "drop one of them",
            id="GPUs or none",
        ),
        pytest.param(
            SPEC, "RayJob", {"queue": "q", "cpu_nodes": {"max": 3}}, "fixed size", id="Kueue and growing"
        ),
        pytest.param(SCAN, "RayCronJob", {"queue": "q"}, "drop the queue", id="Kueue and a RayCronJob"),
        pytest.param(SCAN, "CronJob", {"queue": "q"}, "drop the queue", id="Kueue and looks"),
        pytest.param(
            {**SCAN, "resources": {"actors": 9}}, "CronJob", {}, "runs in one pod", id="looks on three nodes"
        ),
        pytest.param(SPEC, "RayJob", {"image": None}, "no image", id="no image"),
        pytest.param(SPEC, "RayCronJob", {}, "what is done is not done again", id="the same job each night"),
        pytest.param(
            {**SPEC, "source": {**SPEC["source"], "exclude": ["AKIAABCDEFGHIJKLMNOP"]}},
            "RayJob",
            {},
            r"source.exclude\[0\] holds what looks like a secret.*--secret",
            id="a secret",
        ),
    ],
)
def test_what_cannot_work_is_refused(content: Manifest, kind: Kind, options: Manifest, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build_manifests(order(content, kind, **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"image": "veedor"}, "names no version", id="no tag"),
        pytest.param({"image": "veedor:latest"}, "names no version", id="latest"),
        pytest.param(
            {"image": "registry:5000/veedor"}, "such as registry:5000/veedor:1.0", id="port, no tag"
        ),
        pytest.param({"image": "UPPER:1"}, "no image", id="no reference"),
        pytest.param({"env": {"AWS_SECRET_ACCESS_KEY": "x"}}, "for all to read", id="a secret"),
        pytest.param({"env": {"HF_TOKEN": "x"}}, "for all to read", id="a token"),
        pytest.param({"env": {"RAY_enable_autoscaler_v2": "1"}}, "set by KubeRay", id="the operator's"),
        pytest.param({"env": {"A-B": "1"}}, "no name of a variable", id="a name with a dash"),
        pytest.param({"namespace": "A"}, "no name", id="namespace"),
        pytest.param({"secrets": ["a/b"]}, "no object's name", id="secret's name"),
        pytest.param({"labels": {"a b": "c"}}, "no label's key", id="label's key"),
        pytest.param({"labels": {"a": "-"}}, "no label's value", id="label's value"),
        pytest.param({"volumes": [{"claim": "a", "path": "/etc"}]}, "no folder to mount", id="over /etc"),
        pytest.param({"volumes": [{"claim": "a", "path": "data"}]}, "no folder to mount", id="relative"),
        pytest.param({"volumes": [{"claim": "a", "path": "/a"}] * 2}, "same path", id="twice"),
        pytest.param({"cpu_nodes": {"min": 3, "max": 1}}, "below min", id="falling"),
        pytest.param({"gpu_nodes": {"gpus": 0}}, "greater than or equal to 1", id="no GPUs"),
        pytest.param({"imagee": "x"}, "Did you mean 'image'", id="unknown key"),
    ],
)
def test_options_that_are_wrong(options: Manifest, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        validate_spec({"image": IMAGE, **options}, KubernetesSection, name="the command line")


def test_files_named_by_variables_are_no_secrets() -> None:
    env = {"AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token"}
    made = build_manifests(order(SCAN, "CronJob", env=env))[1]["spec"]["jobTemplate"]["spec"]["template"]
    assert {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": "/var/run/token"} in made["spec"]["containers"][
        0
    ]["env"]


def test_a_volume_makes_local_places_reachable() -> None:
    content = {**SPEC, "source": {"uri": "/data/in"}, "sink": {"uri": "/data/out"}}
    volumes = [{"claim": "all", "path": "/data"}, {"claim": "in", "path": "/data/in", "read_only": True}]
    made = build_manifests(order(content, volumes=volumes))
    check(made)
    text = made[0]["data"]["spec.yaml"]
    assert "/data/in" in text
    assert "/data/out" in text
