"""The anomaly commands as they are typed: what they say, and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cluster.cli import app
from cluster.exits import EXIT_ANOMALIES, EXIT_FAILED, EXIT_USAGE
from tests.plates import write_model, write_plates

pytestmark = pytest.mark.usefixtures("ray_cluster")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("line") / "model")


@pytest.fixture(scope="module")
def calibrated(model: Path, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:  # noqa: ARG001
    normal = write_plates(tmp_path_factory.mktemp("normal"), 40, seed=500)
    result = run("calibrate", model, "--normal", normal, "--target-fpr", "0.1", "--actors", "1")
    assert result.exit_code == 0, result.output
    assert "Threshold" in result.output
    assert f"Next:        veedor scan IMAGES --model {model}" in result.output
    return model


def test_from_a_calibration_to_a_report(calibrated: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "scans"
    write_plates(data / "good", 30)
    write_plates(data / "hole", 3, hole=True)
    command = ["scan", data, "--model", calibrated, "--out", out, "--actors", "1"]
    dry = run(*command, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "seen_before: 0" in dry.output
    assert not out.exists()
    first = run(*command, "--exit-code")
    assert first.exit_code == EXIT_ANOMALIES, first.output
    assert "Scan 1: threshold" in first.output
    again = run(*command, "--exit-code", "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.output.strip().splitlines()[-1])["counts"]["inputs"] == 0
    assert "Nothing new since scan 1" in run(*command).output
    decided = run("threshold", out, "--fpr", "0.5")
    assert decided.exit_code == 0
    assert "scan 1: " in decided.output
    figures = run("evaluate", out, "--truth", data)
    assert "30 normal and 3 anomalous images" in figures.output
    assert "Image AUROC" in figures.output
    report = run("report", out)
    assert report.exit_code == 0
    assert (out / "report.html").exists()


def test_a_webhook_that_is_down_fails_the_command_and_loses_nothing(
    calibrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.alerts.FIRST_WAIT_S", 0.0)
    write_plates(tmp_path / "in", 30)
    command = ["scan", tmp_path / "in", "--model", calibrated, "--out", tmp_path / "scans", "--actors", "1"]
    result = run(*command, "--alert", "http://127.0.0.1:9/hush")
    assert result.exit_code == EXIT_FAILED, result.output
    assert "its alert did not reach the webhook" in " ".join(result.output.split())
    assert "hush" not in result.output
    assert (tmp_path / "scans" / "decisions" / "part-00001.parquet").exists()
    told = run(*command, "--alert-file", tmp_path / "alerts.jsonl")
    assert told.exit_code == 0, told.output
    lines = (tmp_path / "alerts.jsonl").read_text().splitlines()
    assert {json.loads(line)["scan"] for line in lines} == {1}
    text = "".join(path.read_text(errors="replace") for path in (tmp_path / "scans").rglob("*.json"))
    assert "hush" not in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(
            ["scan", "IN", "--model", "nothing/", "--out", "OUT"], "there is no calibration", id="no model"
        ),
        pytest.param(
            ["scan", "IN", "--model", "vae", "--out", "OUT"], "'vae' is no trained model", id="a name"
        ),
        pytest.param(
            ["scan", "IN", "--model", "MODEL", "--out", "OUT", "--alert", "ftp://x"],
            "--alert",
            id="no webhook",
        ),
        pytest.param(["scan", "NONE", "--model", "MODEL", "--out", "OUT"], "NONE", id="no folder"),
        pytest.param(
            ["calibrate", "nothing/", "--normal", "IN"], "nothing/model.safetensors", id="no checkpoint"
        ),
        pytest.param(
            ["calibrate", "MODEL", "--normal", "IN", "--score", "elbo"], "choose one of mse", id="score"
        ),
        pytest.param(["calibrate", "MODEL", "--normal", "IN", "--target-fpr", "2"], "target_fpr", id="rate"),
        pytest.param(["threshold", "IN", "--fpr", "0.1"], "no finished scan", id="no scans"),
        pytest.param(["threshold", "IN", "--fpr", "0"], "is no rate", id="no rate"),
        pytest.param(["train", "IN", "--model", "vae", "--out", "OUT"], "at least 10", id="few images"),
        pytest.param(
            ["train", "IN", "--model", "resnet", "--out", "OUT"], "cannot be trained", id="untrainable"
        ),
        pytest.param(
            ["train", "IN", "--model", "patchcore", "--out", "OUT", "--weights", "none.pth"],
            "none.pth",
            id="weights",
        ),
    ],
)
def test_mistakes_are_said_in_one_line(
    calibrated: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    source = write_plates(tmp_path / "in", 3)
    places = {
        "IN": str(source),
        "OUT": str(tmp_path / "out"),
        "NONE": str(tmp_path / "NONE"),
        "MODEL": str(calibrated),
    }
    before = sorted(path for path in Path.cwd().iterdir())
    result = run(*(places.get(argument, argument) for argument in arguments))
    assert result.exit_code == EXIT_USAGE, result.output
    text = " ".join(result.output.split())
    assert "error: " in text
    assert words in text, text
    assert "Traceback" not in text
    assert not (tmp_path / "out" / "scans").exists()
    assert sorted(path for path in Path.cwd().iterdir()) == before
