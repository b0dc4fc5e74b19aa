"""`veedor dataset`, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from cluster.cli import app
from cluster.exits import EXIT_FAILED, EXIT_USAGE
from tests.datasets import converted, picture, random_dataset, write_folder
from tests.s3_files import new_bucket, upload
from tests.s3_servers import S3Server


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["dataset", *(str(argument) for argument in arguments)])


def answer(*arguments: str | Path) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.output)
    return found


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Six images with boxes, crowds and polygons."""
    dataset, bodies = random_dataset(7)
    return write_folder(tmp_path / "coco", converted(dataset, bodies, "coco")[0])


def test_the_commands_have_a_panel_of_their_own() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "Datasets" in shown
    for command in ("check", "stats", "convert", "sheet"):
        assert command in run("--help").output


def test_a_good_dataset_passes(coco: Path) -> None:
    result = run("check", coco, "--images", "--strict")
    assert result.exit_code == 0, result.output
    assert "6 images" in result.output
    assert "Nothing is wrong." in result.output
    assert answer("check", coco)["ok"] is True


def test_a_bad_one_is_explained_and_fails_if_strict(coco: Path) -> None:
    (coco / "images" / "im 0.png").write_bytes(b"no image")
    (coco / "images" / "im 2.png").unlink()
    plain = run("check", coco)
    assert plain.exit_code == 0
    text = " ".join(plain.output.split())
    assert "problem: 1 images that are not there: left out, with their boxes (image_missing)" in text
    assert "images/im 2.png" in text
    assert run("check", coco, "--strict").exit_code == EXIT_FAILED
    found = answer("check", coco)
    assert found["ok"] is False
    assert {p["kind"]: p["count"] for p in found["problems"] if not p["harmless"]} == {
        "image_missing": 1,
        "image_unreadable": 1,
    }
    refused = run("convert", coco, "--to", "voc", "--out", coco.parent / "voc", "--strict")
    assert refused.exit_code == EXIT_USAGE
    assert not (coco.parent / "voc").exists()


def test_pixels_are_decoded_when_asked(coco: Path) -> None:
    document = json.loads((coco / "annotations.json").read_bytes())
    first = document["images"][0]
    first["file_name"] = "cut.jpg"
    body = picture(first["width"], first["height"], image_format="JPEG")
    (coco / "annotations.json").write_text(json.dumps(document))
    (coco / "images" / "cut.jpg").write_bytes(body[: len(body) * 2 // 3])
    assert run("check", coco, "--strict").exit_code == 0
    assert run("check", coco, "--strict", "--images").exit_code == EXIT_FAILED


def test_figures(coco: Path) -> None:
    dataset, _ = random_dataset(7)
    shown = run("stats", coco)
    assert f"6 images, {dataset.num_boxes} boxes; 1 images without" in shown.output
    assert "gear & nut" in shown.output
    found = answer("stats", coco)
    assert found["num_boxes"] == dataset.num_boxes == sum(c["num_boxes"] for c in found["classes"])
    assert sum(found["sizes"].values()) == dataset.num_boxes
    folders = write_folder(coco.parent / "classes", {"cat/a.png": picture(9, 8), "dog/b.png": picture(9, 8)})
    assert "9x8 (2)" in run("stats", folders).output
    assert answer("stats", folders)["aspect_ratios"]["mean"] is None


def test_converting_says_what_is_lost(coco: Path, tmp_path: Path) -> None:
    result = run("convert", coco, "--to", "yolo", "--out", tmp_path / "yolo")
    assert result.exit_code == 0, result.output
    assert "not held by the format: " in result.output
    assert "boxes' id" in result.output
    done = answer("convert", tmp_path / "yolo", "--to", "voc", "--out", tmp_path / "voc", "--link")
    assert done["losses"] == {}
    assert (tmp_path / "voc" / "Annotations").is_dir()
    assert "6 images" in run("check", tmp_path / "voc").output
    again = run("convert", coco, "--to", "yolo", "--out", tmp_path / "yolo")
    assert again.exit_code == EXIT_USAGE
    assert "is not empty" in " ".join(again.output.split())


def test_masks_are_checked(tmp_path: Path) -> None:
    for kind, values in (("images", (9, 9)), ("masks", (0, 255))):
        (tmp_path / kind).mkdir()
        for k, value in enumerate(values):
            Image.new("L", (6, 4), value).save(tmp_path / kind / f"{k}.png")
    found = answer("check", tmp_path, "--masks")
    assert found["ok"]
    assert (found["splits"], found["labels"]) == ({"": 2}, ["background", "object"])
    assert [each["kind"] for each in found["problems"]] == ["mask_without_objects"]
    Image.new("L", (7, 4), 255).save(tmp_path / "masks" / "1.png")
    bad = run("check", tmp_path, "--masks", "--strict")
    assert bad.exit_code == EXIT_FAILED
    assert "masks of another size than their image" in bad.output


def test_a_sheet(coco: Path, tmp_path: Path) -> None:
    result = run("sheet", coco, "--out", tmp_path / "sheet.jpg", "--num", "4")
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "sheet.jpg") as shown:
        assert shown.size == (2 * 324 + 4, 2 * 324 + 4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("check", "nowhere"), "there is no folder"),
        (("check", "coco", "--split", "trane"), "no split 'trane'"),
        (("convert", "coco", "--to", "vok", "--out", "x"), "Did you mean 'voc'"),
        (("convert", "coco", "--to", "voc", "--out", "coco"), "is not empty"),
        (("sheet", "coco", "--out", "x.txt"), "must end with"),
        (("sheet", "coco", "--out", "x.png", "--num", "0"), "at least 1"),
    ],
)
def test_mistakes(
    coco: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(coco.parent)
    result = run(*arguments)
    assert result.exit_code == EXIT_USAGE
    assert words in " ".join(result.output.split())


def test_from_a_bucket_to_a_bucket(s3_environment: S3Server) -> None:
    dataset, bodies = random_dataset(8)
    bucket = new_bucket(s3_environment)
    content, _ = converted(dataset, bodies, "coco")
    upload(s3_environment, bucket, {f"data/{name}": body for name, body in content.items()})
    assert answer("check", f"s3://{bucket}/data/", "--images")["ok"] is True
    done = answer("convert", f"s3://{bucket}/data", "--to", "voc", "--out", f"s3://{bucket}/voc")
    assert done["num_boxes"] == dataset.num_boxes
    assert answer("stats", f"s3://{bucket}/voc")["num_boxes"] == dataset.num_boxes
