"""`veedor plan` as it is typed."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cluster.cli import app
from cluster.exits import EXIT_USAGE
from cluster.sizing import parse_count, parse_duration
from cvcore.errors import SpecError
from cvcore.scenes.coco import write_scenes
from jobs.sizing.workload import StageTimes

TIMES = StageTimes(image_bytes=100e3, request_s=0.02, decode_s=0.005, infer_s=0.02)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("plan")
    write_scenes(made, num_scenes=3, seed=5)
    spec = {
        "source": {"uri": str(made / "images")},
        "model": {"name": "tiny"},
        "sink": {"uri": str(made / "out")},
    }
    (made / "spec.yaml").write_text(json.dumps(spec))
    (made / "times.json").write_text(TIMES.to_json())
    return made


def simulated(folder: Path, *more: str) -> dict:
    command = ["plan", folder / "spec.yaml", "--simulate", "--times", folder / "times.json", "--json", *more]
    result = run(*command)
    assert result.exit_code == 0, result.output
    found: dict = json.loads(result.output[result.output.index("{\n") :])
    return found


def test_the_fewest_machines_for_a_deadline_then_how_long_those_take(folder: Path) -> None:
    sized = simulated(folder, "--images", "5e6", "--within", "3h", "--node-cpus", "16", "--node-price", "2")
    assert sized["in_time"]
    assert sized["wall_s"] <= 3 * 3600
    assert sized["cpus"] == 16 * sized["nodes"]
    assert sized["cost"] == pytest.approx(2 * sized["nodes"] * sized["wall_s"] / 3600)
    same = simulated(folder, "--images", "5e6", "--nodes", str(sized["nodes"]), "--node-cpus", "16")
    assert same["wall_s"] == pytest.approx(sized["wall_s"])


def test_what_is_measured_here_is_kept_and_gives_the_same_answer_again(folder: Path, tmp_path: Path) -> None:
    saved = tmp_path / "measured.json"
    first = run("plan", folder / "spec.yaml", "--simulate", "--nodes", "2", "--save-times", saved, "--json")
    assert first.exit_code == 0, first.output
    measured = StageTimes.from_json(saved.read_text(), name="measured")
    sizes = [path.stat().st_size for path in (folder / "images").iterdir()]
    assert measured.image_bytes == pytest.approx(sum(sizes) / 3)
    assert 1e-4 < measured.decode_s < 1
    assert 1e-4 < measured.infer_s < 5
    again = run("plan", folder / "spec.yaml", "--simulate", "--nodes", "2", "--times", saved, "--json")
    first_json, again_json = (each.output[each.output.index("{\n") :] for each in (first, again))
    assert json.loads(first_json)["wall_s"] == json.loads(again_json)["wall_s"]


def test_without_simulate_it_is_the_dry_run(folder: Path) -> None:
    result = run("plan", folder / "spec.yaml")
    assert result.exit_code == 0, result.output
    assert "images_per_unit" in result.output
    assert not (folder / "out").exists()


def test_a_person_reads_machines_time_cost_and_what_is_busiest(folder: Path) -> None:
    command = [
        "plan",
        folder / "spec.yaml",
        "--simulate",
        "--times",
        folder / "times.json",
        "--images",
        "1e9",
    ]
    text = " ".join(
        run(*command, "--within", "12h", "--node-cpus", "64", "--node-price", "1.5").output.split()
    )
    assert "1,000,000,000 images" in text
    assert "machines" in text
    assert "at 1.5 a machine and hour" in text
    assert "cut the source into 3 parts" in text
    assert "cut each part into 7 jobs" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--simulate"], "either what time there is", id="no question"),
        pytest.param(["--simulate", "--nodes", "2", "--within", "2h"], "either what time there is", id="two"),
        pytest.param(["--simulate", "--within", "soon"], "'soon' is no duration: 90m", id="duration"),
        pytest.param(["--simulate", "--by", "2020-01-01T00:00:00"], "is in the past", id="past"),
        pytest.param(["--simulate", "--nodes", "2", "--images", "many"], "'many' is no number", id="images"),
        pytest.param(["--simulate", "--nodes", "2", "--times", "no.json"], "cannot read no.json", id="times"),
        pytest.param(["--simulate", "--nodes", "2", "--crashes", "1"], "probability below 1", id="hazard"),
        pytest.param(["--simulate", "--nodes", "2", "--node-cpus", "0"], "needs CPUs", id="node"),
        pytest.param(["--nodes", "2"], "are of --simulate: add it", id="no --simulate"),
    ],
)
def test_mistakes_are_said(folder: Path, arguments: list[str], words: str) -> None:
    result = run("plan", folder / "spec.yaml", *arguments)
    assert result.exit_code == EXIT_USAGE
    text = " ".join(result.output.replace("│", " ").split())
    assert "Traceback" not in text
    assert words in text


def test_only_jobs_of_one_pass_are_simulated(tmp_path: Path) -> None:
    spec = {"job": "track", "source": {"uri": str(tmp_path)}, "sink": {"uri": str(tmp_path / "out")}}
    (tmp_path / "track.yaml").write_text(json.dumps(spec))
    result = run("plan", tmp_path / "track.yaml", "--simulate", "--nodes", "1")
    assert result.exit_code == EXIT_USAGE
    assert "is a track job" in result.output


@pytest.mark.parametrize(("text", "expected"), [("250000", 250_000), ("1e9", 10**9), ("1,000", 1000)])
def test_numbers_of_images(text: str, expected: int) -> None:
    assert parse_count(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("90m", 5400), ("1.5h", 5400), ("4d", 345_600), ("30s", 30)])
def test_durations(text: str, expected: float) -> None:
    assert parse_duration(text, None) == expected


def test_a_moment_is_in_local_time() -> None:
    assert parse_duration(None, datetime.now() + timedelta(hours=2)) == pytest.approx(7200, abs=5)
    with pytest.raises(SpecError, match="not both"):
        parse_duration("2h", datetime.now())
