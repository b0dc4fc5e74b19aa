"""`veedor evaluate` of a detector on a dataset, as a user types it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cluster.cli import app
from cvcore.scenes import SceneSpec, write_scenes


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, num_scenes=20, seed=7_000, spec=SceneSpec(min_side=300, max_side=400))
    return folder


@pytest.mark.parametrize(("split", "least", "most"), [("train", 10, 19), ("all", 20, 20)])
def test_a_detector_is_measured_on_a_split(scenes: Path, split: str, least: int, most: int) -> None:
    found = run("tiny", "--data", scenes, "--split", split, "--json", "--speed-s", "0.5")
    assert found.exit_code == 0, found.output
    content = json.loads(found.output)
    assert content["metrics"]["num_images"] == content["num_images"]
    assert least <= content["num_images"] <= most
    assert content["metrics"]["ap50"] > 0.8
    assert content["voc"]["map10"] > 0.8
    assert content["metrics"]["per_class_ap"].keys() == content["voc"]["per_class_ap07"].keys()
    single = content["speed"]["single"]
    assert single["latency_p50_s"] <= single["latency_p99_s"]
    assert content["speed"]["best"]["images_per_s"] > 0
    assert content["cost"]["num_operations"] == 839_193_600


def test_figures_are_told_in_a_table_and_written_as_a_page(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = run("tiny", "--data", scenes, "--split", "train", "--speed-s", "0.5", "--out", out)
    assert found.exit_code == 0, found.output
    for expected in ("mAP@0.5", "VOC07 mAP", "images/s", "washer", f"Report: {out}/report.html"):
        assert expected in found.output
    assert sorted(path.name for path in out.iterdir()) == ["evaluation.json", "report.html"]


@pytest.mark.parametrize(
    ("model", "message"),
    [("darknet19", "comes without weights"), ("nothing", "there is no model 'nothing'")],
    ids=["no weights", "no model"],
)
def test_what_cannot_be_measured_is_said(scenes: Path, model: str, message: str) -> None:
    found = run(model, "--data", scenes)
    assert found.exit_code == 2
    assert message in found.output.replace("\n", " ")


def test_a_split_that_is_none_is_refused_with_those_that_are(scenes: Path) -> None:
    found = run("tiny", "--data", scenes, "--split", "holdout")
    assert found.exit_code == 2
    assert "Splits: train, val, test" in found.output


def test_classes_that_the_model_lacks_are_named(scenes: Path, tmp_path: Path) -> None:
    document = json.loads((scenes / "annotations.json").read_text())
    document["categories"][0]["name"] = "spring"
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    shutil.copytree(scenes / "images", tmp_path / "images")
    found = run("tiny", "--data", tmp_path, "--split", "all")
    assert found.exit_code == 2
    assert "spring" in found.output


@pytest.mark.parametrize("left", [0, 2000], ids=["empty", "truncated"])
def test_a_broken_image_is_counted_and_costs_its_objects_alone(
    scenes: Path, tmp_path: Path, left: int
) -> None:
    folder = tmp_path / "scenes"
    shutil.copytree(scenes, folder)
    first = min((folder / "images").iterdir())
    first.write_bytes(first.read_bytes()[:left])
    before, after = (
        json.loads(run("tiny", "--data", place, "--split", "all", "--json", "--speed-s", "0").output)
        for place in (scenes, folder)
    )
    assert (before["num_failed"], after["num_failed"]) == (0, 1)
    assert after["metrics"]["num_objects"] == before["metrics"]["num_objects"]
    assert after["metrics"]["recall"] < before["metrics"]["recall"]
