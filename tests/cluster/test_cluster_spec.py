"""`cluster.yaml`: what it may say, and what is said of what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cluster.cli import app
from cluster.cluster_spec import AwsClusterSpec, LocalClusterSpec, build_cluster_spec, read_cluster_spec
from cvcore.errors import SpecError

AWS: dict[str, Any] = {
    "provider": "aws",
    "name": "fleet",
    "region": "eu-west-1",
    "container": "registry.example.com/veedor:0.1.0",
    "workers": {"gpu": {"instance_type": "g6.2xlarge"}},
}


def test_nothing_said_is_two_workers_on_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text("provider: local\n")
    assert read_cluster_spec(path) == LocalClusterSpec(name="local", workers=2)


def test_a_cloud_has_kinds_of_workers() -> None:
    spec = build_cluster_spec(AWS, name="cluster.yaml")
    assert isinstance(spec, AwsClusterSpec)
    assert spec.workers["gpu"].count == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param({"provider": "asw"}, r"no provider 'asw'\. Did you mean 'aws'", id="provider"),
        pytest.param({"provider": "kubernetes"}, "veedor manifest", id="kubernetes"),
        pytest.param({"wokers": 3}, "wokers: there is no such key. Did you mean 'workers'", id="key"),
        pytest.param({"workers": 0}, "workers: .*greater than or equal to 1", id="no workers"),
        pytest.param({"gpus": -1}, "gpus: ", id="negative"),
        pytest.param({"name": "Line 3"}, "name: ", id="name"),
        pytest.param({"port": 70000}, "port: ", id="port"),
        pytest.param({"object_store_bytes": 1000}, "object_store_bytes: ", id="store"),
        pytest.param({**AWS, "region": "Ireland"}, "region: ", id="region"),
        pytest.param({**AWS, "workers": {}}, "workers: ", id="no kinds"),
        pytest.param(
            {**AWS, "workers": {"gpu": {"instance_type": "g6.2xlarge", "count": 4, "max_count": 2}}},
            r"max_count \(2\) is below count \(4\)",
            id="bounds",
        ),
        pytest.param({**AWS, "workers": {"head": {"instance_type": "x"}}}, "the head's own name", id="head"),
        pytest.param({**AWS, "container": None}, "commands under setup", id="no software"),
        pytest.param({**AWS, "instance_profile": "my-role"}, "instance_profile: ", id="profile"),
        pytest.param({**AWS, "image": "ubuntu"}, "image: ", id="image"),
    ],
)
def test_what_cannot_be_meant_is_refused(content: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build_cluster_spec(content, name="cluster.yaml")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["up", "--config", "{folder}/none.yaml"], "cannot read", id="no file"),
        pytest.param(
            ["up", "--config", "{folder}/c.yaml", "--workers", "3"], "write workers there", id="both"
        ),
        pytest.param(["up", "--workers", "0"], "the command line is not valid", id="option"),
        pytest.param(["up", "--render"], "--render is for clusters in a cloud", id="render"),
        pytest.param(["down"], "no cluster 'local' was brought up here", id="down"),
        pytest.param(["down", "--config", "{folder}/c.yaml"], "no cluster 'fleet'", id="down in a cloud"),
    ],
)
def test_the_commands_say_what_is_wrong(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "c.yaml").write_text(
        "{provider: aws, name: fleet, region: eu-west-1, container: x, workers: {a: {instance_type: t}}}"
    )
    result = CliRunner().invoke(app, [argument.format(folder=tmp_path) for argument in arguments])
    assert result.exit_code == 2, result.output
    assert words in " ".join(result.output.split())
