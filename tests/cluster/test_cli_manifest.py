"""`veedor manifest` as users type it: what comes out, and what is said of mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cluster.cli import app
from tests.cluster.test_manifests import IMAGE, SCAN, SPEC, check, groups


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "line3.yaml"
    path.write_text(yaml.safe_dump(SPEC))
    return path


def run(*arguments: object) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, what kubectl would read, and what is said."""
    result = CliRunner().invoke(app, ["manifest", *map(str, arguments)])
    return result.exit_code, list(yaml.safe_load_all(result.stdout)), result.stderr


def test_a_job_from_options(spec: Path) -> None:
    code, made, said = run(
        *(spec, "--image", IMAGE, "--namespace", "vision", "--gpus", 2, "--cpus", 16, "--memory-gib", 64),
        *(
            "--min-nodes",
            2,
            "--max-nodes",
            3,
            "--node-selector",
            "pool=gpu",
            "--toleration",
            "spot:NoExecute",
        ),
        *(
            "--secret",
            "s3",
            "--service-account",
            "reader",
            "--pull-secret",
            "registry",
            "--volume",
            "a:/a:ro",
        ),
        *("--env", "AWS_REGION=eu-south-2", "--retries", 5, "--ttl-s", 60, "--deadline-s", 3600),
    )
    assert (code, said) == (0, "")
    check(made)
    gpu = groups(made[1])["gpu"]
    assert (gpu["minReplicas"], gpu["maxReplicas"]) == (2, 3)
    pod = gpu["template"]["spec"]
    assert pod["nodeSelector"] == {"pool": "gpu"}
    assert pod["tolerations"] == [{"key": "spot", "operator": "Exists", "effect": "NoExecute"}]
    assert pod["containers"][0]["resources"]["limits"] == {
        "cpu": "16",
        "memory": "64Gi",
        "nvidia.com/gpu": "2",
    }
    job = made[1]["spec"]
    assert (job["backoffLimit"], job["ttlSecondsAfterFinished"], job["activeDeadlineSeconds"]) == (
        5,
        60,
        3600,
    )


def test_options_lie_over_the_file(spec: Path, tmp_path: Path) -> None:
    config = tmp_path / "cluster.yaml"
    section = {"image": IMAGE, "secrets": ["s3"], "cpu_nodes": {"cpus": 8, "memory_gib": 24}}
    config.write_text(yaml.safe_dump({"kubernetes": section}))
    code, made, _ = run(spec, "--config", config, "--cpus", 2)
    assert code == 0
    (container,) = groups(made[1])["cpu"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "24Gi"}


def test_a_schedule(tmp_path: Path) -> None:
    path = tmp_path / "Line 3.yaml"
    path.write_text(yaml.safe_dump(SCAN))
    times = ("--cron", "0 2 * * *", "--timezone", "Europe/Madrid")
    code, made, _ = run(path, "--image", IMAGE, *times, "--store", "s3://ops/veedor/")
    assert code == 0
    check(made)
    assert (made[1]["kind"], made[1]["metadata"]["name"]) == ("CronJob", "line-3")
    code, made, said = run(path, "--image", IMAGE, *times, "--ray-cron-job")
    assert code == 0
    check(made)
    assert made[1]["spec"]["timeZone"] == "Europe/Madrid"
    assert "RayCronJob is alpha" in said


def test_a_cluster(spec: Path) -> None:
    code, made, _ = run(spec, "--image", IMAGE, "--kind", "cluster", "--min-nodes", 0, "--max-nodes", 9)
    assert code == 0
    check(made)
    assert [each["kind"] for each in made] == ["RayCluster"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--name", "My Job"], "Allowed would be 'my-job'", id="name"),
        pytest.param(["--cron", "0 2 * * *"], "--cron needs --store", id="no store"),
        pytest.param(["--store", "s3://ops/"], "add its --cron", id="no cron"),
        pytest.param(["--cron", "0 2 * * *", "--store", "ops"], "--store is", id="local store"),
        pytest.param(["--submit", "head:8265"], "add its --cron", id="submitted at no time"),
        pytest.param(["--cron", "0 2 * * *", "--store", "s3://ops"], "Give each tick", id="one sink"),
        pytest.param(["--cron", "0 25 * * *", "--store", "s3://ops"], "'25' is no hour", id="cron line"),
        pytest.param(["--kind", "cluster", "--cron", "0 2 * * *"], "of no schedule", id="cluster at times"),
        pytest.param(["--volume", "x"], "is not CLAIM:/path", id="volume"),
        pytest.param(["--env", "x"], "has no '='", id="env"),
        pytest.param(["--node-selector", "x"], "has no '='", id="node selector"),
        pytest.param(["--toleration", "a:Never"], "'NoExecute'", id="toleration"),
        pytest.param(["--config", "nowhere.yaml"], "cannot read nowhere.yaml", id="no config"),
    ],
)
def test_mistakes_are_said_and_nothing_is_printed(spec: Path, arguments: list[str], message: str) -> None:
    code, made, said = run(spec, "--image", IMAGE, *arguments)
    assert (code, made) == (2, [])
    assert message in said
