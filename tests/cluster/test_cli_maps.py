"""`veedor annotate` with a segmenter as it is typed, and what is made of its run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from cluster.cli import app
from cluster.exits import EXIT_USAGE
from cvcore.checkpoint import save_checkpoint
from cvcore.datasets.mask_files import encode_mask, read_mask
from cvcore.errors import SpecError
from cvcore.segment.unet import build_unet
from jobs.outcome import refuse_without_boxes
from tests.runs import read_local_rows

pytestmark = pytest.mark.usefixtures("ray_cluster")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:  # noqa: ARG001
    """Three images, one of them broken, with masks, and the maps found of them."""
    folder = tmp_path_factory.mktemp("segment")
    for kind in ("images", "masks"):
        (folder / "data" / kind).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for k in range(3):
        pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "data" / "images" / f"{k}.png")
        mask = encode_mask((pixels[..., 0] > 128).astype(np.uint8))
        (folder / "data" / "masks" / f"{k}.png").write_bytes(mask)
    (folder / "data" / "images" / "2.png").write_bytes(b"no image")
    torch.manual_seed(1)
    model = build_unet(width=4, depth=1, padded=True, input_size=32)
    body = save_checkpoint(
        model.state_dict(),
        model="unet",
        config=model.config,
        labels=("background", "class 1"),
        training={},
    )
    (folder / "model.safetensors").write_bytes(body)
    result = run(*command(folder), "--maps", folder / "maps")
    assert result.exit_code == 0, result.output
    assert "2 ok, 1 failed, 2 maps" in result.output
    assert "2 maps:" in result.output
    return folder


def command(folder: Path, out: str = "run") -> list[str | Path]:
    model = folder / "model.safetensors"
    return ["annotate", folder / "data" / "images", "--model", model, "--out", folder / out, "--actors", "1"]


def test_maps_are_written_as_palette_pngs(done: Path) -> None:
    rows = read_local_rows(done / "run").to_pylist()
    for row in rows[:2]:
        path = done / "maps" / Path(row["uri"]).name
        assert path.read_bytes() == row["map"]
        assert read_mask(row["map"], name="it").shape == (40, 50)
        assert sum(each["pixels"] for each in row["classes"]) == 40 * 50
    assert not (done / "maps" / "2.png").exists()


def test_tiles_are_another_job(done: Path) -> None:
    assert "finished before" in run(*command(done)).output
    other = run(*command(done), "--tile", "32", "--overlap", "8")
    assert other.exit_code == EXIT_USAGE
    assert "tile" in other.output
    wrong = run(*command(done), "--tile", "32", "--overlap", "20")
    assert wrong.exit_code == EXIT_USAGE
    assert "more than half" in wrong.output
    odd = run(*command(done, "odd"), "--tile", "17", "--overlap", "8")
    assert odd.exit_code != 0
    assert "begin at multiples of 2 px" in odd.output


def test_maps_are_measured_against_masks(done: Path) -> None:
    result = run("evaluate", done / "run", "--truth", done / "data", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert (found["num_images"], found["num_failed"]) == (2, 1)
    assert 0 < found["metrics"]["mean_iou"] < 1
    shown = run("evaluate", done / "run", "--truth", done / "data", "--out", done / "evaluation")
    assert "mIoU" in shown.output
    content = json.loads((done / "evaluation" / "evaluation.json").read_text())
    assert content["metrics"] == found["metrics"]
    page = (done / "evaluation" / "report.html").read_text()
    assert "1 image failed in the run" in page
    assert page.count('class="map-card"') == 2


def test_masks_that_cannot_be_used_are_not_called_missing(done: Path, tmp_path: Path) -> None:
    shutil.copytree(done / "data", tmp_path / "data")
    for mask in (tmp_path / "data" / "masks").rglob("*.png"):
        mask.write_bytes(mask.read_bytes()[:-30])
    (tmp_path / "data" / "dataset.yaml").write_text("names: [background, class 1]\n")
    result = run("evaluate", done / "run", "--truth", tmp_path / "data", "--json")
    assert result.exit_code == EXIT_USAGE
    assert "none of 2 masks" in result.output
    assert "veedor dataset check --masks" in result.output


def test_maps_are_exported_as_coco_panoptic(done: Path) -> None:
    result = run("export", done / "run", "--format", "coco-panoptic", "--out", done / "panoptic")
    assert result.exit_code == 0, result.output
    document = json.loads((done / "panoptic" / "panoptic.json").read_text())
    areas = [each["area"] for image in document["annotations"] for each in image["segments_info"]]
    assert f"{len(areas)} segments in 2 images; 1 failed" in result.output
    assert sum(areas) == 2 * 40 * 50
    assert [each["name"] for each in document["categories"]] == ["background", "class 1"]


def test_maps_are_measured_on_a_split_of_the_masks(done: Path) -> None:
    whole, split, nothing = (
        run("evaluate", done / "run", "--truth", done / "data", "--json", *options)
        for options in ((), ("--split", "train"), ("--split", "other"))
    )
    assert json.loads(whole.output)["num_images"] == 2
    assert nothing.exit_code == EXIT_USAGE
    assert "no split 'other'" in nothing.output
    if split.exit_code == 0:  # which images are drawn depends on the names alone
        assert json.loads(split.output)["num_images"] <= 2
    else:
        assert "no image of" in split.output


@pytest.mark.parametrize("options", [("--tile", "64", "--overlap", "8"), ("--maps", "maps")])
def test_what_is_of_segmenters_is_refused_with_a_detector_before_anything_starts(
    options: tuple[str, str], done: Path
) -> None:
    result = run("annotate", done / "data" / "images", "--out", done / "boxes", *options)
    assert result.exit_code == EXIT_USAGE
    assert "is of segmenters, and tiny is none" in result.output
    assert not (done / "boxes").exists()


def test_what_needs_boxes_says_what_the_run_holds(done: Path) -> None:
    (done / "coco.json").write_text('{"images": [], "annotations": [], "categories": []}')
    result = run("evaluate", done / "run", "--truth", done / "coco.json")
    assert result.exit_code == EXIT_USAGE
    assert "a segmenter's run, with class maps" in result.output
    counts = json.loads((done / "run" / "_SUCCESS.json").read_text())["counts"]
    assert counts["maps"] == 2
    with pytest.raises(SpecError, match="with class maps and no boxes"):
        refuse_without_boxes(counts, "it")
