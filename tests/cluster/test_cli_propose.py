"""`veedor propose` as it is typed, and what is made of its run."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from cluster.cli import app
from cluster.exits import EXIT_USAGE
from cvcore.image.decode import decode_to_canvas
from cvcore.propose.options import SelectiveSearchOptions
from cvcore.propose.proposer import SelectiveSearch
from cvcore.scenes.coco import write_scenes
from tests.runs import last_event, read_local_rows

pytestmark = pytest.mark.usefixtures("ray_cluster")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:  # noqa: ARG001
    """Four scenes, one of them broken, and the boxes proposed for them."""
    folder = tmp_path_factory.mktemp("propose")
    write_scenes(folder, num_scenes=4, seed=90)
    (folder / "images" / "scene-000003.jpg").write_bytes(b"no image")
    result = run(*command(folder))
    assert result.exit_code == 0, result.output
    assert "3 ok, 1 failed" in result.output
    return folder


def command(folder: Path) -> list[str | Path]:
    choice = ["--strategy", "single", "--max-boxes", "150", "--seed", "4", "--actors", "1"]
    return ["propose", folder / "images", "--out", folder / "run", *choice]


def test_a_row_an_image_with_boxes_in_its_pixels_best_first(done: Path) -> None:
    rows = read_local_rows(done / "run").to_pylist()
    assert [row["status"] for row in rows] == ["ok"] * 3 + ["decode"]
    assert rows[3]["proposals"] is None
    for row in rows[:3]:
        boxes = np.array([each["box"] for each in row["proposals"]])
        scores = [each["score"] for each in row["proposals"]]
        assert 20 < len(boxes) <= 150
        assert scores[0] == 1.0
        assert all(first > second > 0 for first, second in pairwise(scores))
        assert boxes.min() >= 0
        assert (boxes[:, 2:] <= [row["width"], row["height"]]).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_rows_hold_what_the_search_itself_gives(done: Path) -> None:
    path = done / "images" / "scene-000001.jpg"
    model = SelectiveSearch()
    decoded = decode_to_canvas(path.read_bytes(), model.input_spec, name=path.name)
    options = SelectiveSearchOptions(strategy="single", max_boxes=150, seed=4)
    (expected,) = model(torch.from_numpy(decoded.canvas)[None], [decoded.fit], options)
    row = read_local_rows(done / "run").to_pylist()[1]
    assert [each["box"] for each in row["proposals"]] == expected.tolist()
    with Image.open(path) as image:
        assert (row["width"], row["height"]) == image.size


def test_running_it_again_does_nothing_and_other_options_are_another_job(done: Path) -> None:
    assert "finished before" in run(*command(done)).output
    other = run(*command(done)[:-4], "--seed", "5", "--actors", "1")
    assert other.exit_code == EXIT_USAGE
    assert "seed" in other.output


def test_the_manifest_counts_proposals(done: Path) -> None:
    manifest = json.loads((done / "run" / "_SUCCESS.json").read_text())
    rows = read_local_rows(done / "run").to_pylist()
    assert manifest["counts"]["proposals"] == sum(len(row["proposals"] or ()) for row in rows)


def test_evaluation_measures_what_is_covered(done: Path) -> None:
    command = ["evaluate", done / "run", "--truth", done / "annotations.json"]
    found = last_json(run(*command, "--json"))
    assert found["num_failed"] == 1
    assert found["num_missing"] == 0
    metrics = found["metrics"]
    assert metrics["num_images"] == 4
    truth = json.loads((done / "annotations.json").read_text())["annotations"]
    assert metrics["num_objects"] == len(truth)
    lost = sum(each["image_id"] == 4 for each in truth) / len(truth)
    assert 0.5 * (1 - lost) < metrics["recall"] <= 1 - lost
    text = run(*command).output
    assert "MABO" in text
    assert "1 failed in it" in text


def last_json(result: Result) -> dict:
    assert result.exit_code == 0, result.output
    found: dict = json.loads(result.output[result.output.index("{") :])
    return found


def test_a_report_shows_the_best_boxes_on_their_pictures(done: Path) -> None:
    result = run("report", done / "run")
    assert result.exit_code == 0, result.output
    page = (done / "run" / "report.html").read_text()
    rows = read_local_rows(done / "run").to_pylist()
    assert f"{sum(len(row['proposals'] or ()) for row in rows)}" in page
    assert "proposals by score" in page
    assert "results were altered" not in page
    data = json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.S)[1])
    assert [label["name"] for label in data["labels"]] == ["proposal"]
    (shown,) = [card for card in data["cards"] if card["name"] == "scene-000001.jpg"]
    assert shown["picture"].startswith("data:image/jpeg")
    assert len(shown["dets"]) + shown["more"] == len(rows[1]["proposals"])
    assert shown["dets"][0][2] == pytest.approx(rows[1]["proposals"][0]["box"], abs=0.06)


def test_a_dry_run_shows_plan_and_spec(done: Path, tmp_path: Path) -> None:
    result = run("propose", done / "images", "--out", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "strategy: fast" in result.output
    assert "500x500 letterbox" in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--method", "selective"], ["no method 'selective'", "Did you mean"], id="method"),
        pytest.param(["--method", "tiny"], ["no method 'tiny'", "Methods: selective_search"], id="detector"),
        pytest.param(["--strategy", "quick"], ["propose.strategy", "'quality'"], id="strategy"),
        pytest.param(["--max-boxes", "0"], ["propose.max_boxes", "greater than or equal to 1"], id="boxes"),
        pytest.param(["--seed", "-1"], ["propose.seed"], id="seed"),
    ],
)
def test_mistakes_are_said_and_nothing_is_written(
    done: Path, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    out = tmp_path / "out"
    result = run("propose", done / "images", "--out", out, *arguments)
    assert result.exit_code == EXIT_USAGE
    text = " ".join(result.output.split())
    assert "Traceback" not in text
    for word in words:
        assert word in text
    assert not out.exists()


def test_annotate_with_a_model_that_names_nothing_is_refused(done: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("annotate", done / "images", "--model", "selective_search", "--out", out)
    assert result.exit_code == EXIT_USAGE
    assert "is no detector, classifier or segmenter" in result.output


def test_truth_of_other_images_is_refused(done: Path, tmp_path: Path) -> None:
    truth = tmp_path / "truth.json"
    images = [{"id": 1, "file_name": "other.jpg", "height": 9, "width": 9}]
    truth.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    result = run("evaluate", done / "run", "--truth", truth, "--json")
    assert result.exit_code == EXIT_USAGE
    assert "no image of" in last_event(result.output)["message"]
