"""`veedor compare`, as a user types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

import cvcore.detect
from cluster.cli import app
from cluster.comparing import name_models
from cvcore.scenes import SceneSpec, write_scenes

WEIGHTS = Path(cvcore.detect.__file__).parent / "weights" / "tiny.safetensors"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, num_scenes=4, seed=7_000, spec=SceneSpec(min_side=240, max_side=300))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `veedor train` leaves it."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    folder.mkdir()
    shutil.copy(WEIGHTS, folder / "model.safetensors")
    return folder


def test_the_table_and_the_files(scenes: Path, trained: Path, tmp_path: Path) -> None:
    found = run(
        "tiny", trained, "--data", scenes, "--split", "all", "--speed-s", "0.4", "--out", tmp_path / "out"
    )
    assert found.exit_code == 0, found.output
    rows = [
        line.split() for line in found.output.splitlines() if line.strip().startswith(("tiny ", "first "))
    ]
    assert [row[0] for row in rows] == ["tiny", "first"]
    assert rows[0][1:4] == rows[1][1:4], "they are the same weights"
    assert "6,300" in rows[0]
    assert "320x320" in rows[0]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "comparison.html",
        "comparison.json",
        "comparison.md",
    ]


def test_as_json(scenes: Path, trained: Path) -> None:
    found = run(trained / "model.safetensors", "--data", scenes, "--split", "all", "--speed-s", "0", "--json")
    assert found.exit_code == 0, found.output
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    assert lines[-1]["event"] == "result"
    assert lines[-1]["models"][0]["metrics"]["ap50"] > 0.5
    assert lines[-1]["models"][0]["speed"] is None


def test_files_go_to_the_model_that_they_are_named_for() -> None:
    named = name_models(["net.cfg", "tiny"], ["net.cfg=a=b.weights"], ["net.cfg=s3://x/net.names"])
    assert [(each.name, each.weights, each.labels) for each in named] == [
        ("net.cfg", "a=b.weights", "s3://x/net.names"),
        ("tiny", None, None),
    ]


def test_a_failure_is_said_and_counts(scenes: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import jobs.compare_models as module

    evaluate = module.evaluate_detector

    def broken(model, on, *, name, **options):  # type: ignore[no-untyped-def]
        if name != "tiny":
            raise MemoryError
        return evaluate(model, on, name=name, **options)

    monkeypatch.setattr(module, "evaluate_detector", broken)
    found = run(trained, "tiny", "--data", scenes, "--split", "all", "--speed-s", "0")
    assert found.exit_code == 1
    assert "first failed" in found.output or f"{trained} failed: MemoryError" in found.output
    assert any(line.strip().startswith("tiny ") for line in found.output.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny", "darknet19"], "darknet19: comes without weights"),
        (["tiny", "--weights", "other=x.weights"], "write MODEL=FILE"),
        (["tiny", "--labels", "tiny"], "write MODEL=FILE"),
        (["tiny", "--split", "holdout"], "Splits: train, val, test"),
    ],
    ids=["no weights", "no such model", "no file", "no split"],
)
def test_mistakes_are_said_before_anything_runs(
    scenes: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    found = run(*arguments, "--data", scenes, "--out", tmp_path / "out")
    assert found.exit_code == 2
    assert message in found.output
    assert not (tmp_path / "out").exists()
