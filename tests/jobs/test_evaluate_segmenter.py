"""Measuring a segmenter on masks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image
from sklearn.metrics import accuracy_score, balanced_accuracy_score, jaccard_score
from typer.testing import CliRunner

from cluster.cli import app
from cluster.exits import EXIT_USAGE
from cvcore.checkpoint import save_checkpoint
from cvcore.image.decode import decode_to_canvas
from cvcore.metrics.segmentation import confusion_matrix
from cvcore.segment.base import Segmenter
from cvcore.segment.unet import build_unet
from jobs.worst_maps import WorstMaps
from tests.browsers import open_browser, quiet_page

LABELS = ("background", "object")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images of noise, one of them broken, and masks of their bright pixels."""
    folder = tmp_path_factory.mktemp("masks")
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / "test" / kind).mkdir(parents=True)
    for k in range(5):
        pixels = rng.integers(0, 256, (24, 36, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "test" / "images" / f"{k}.png")
        bright = np.where(pixels[..., 0] > 128, 255, 0).astype(np.uint8)
        Image.fromarray(bright).save(folder / "test" / "masks" / f"{k}.png")
    (folder / "test" / "images" / "4.png").write_bytes(b"no image")
    return folder


def save_model(path: Path, labels: tuple[str, ...] = LABELS) -> Segmenter:
    torch.manual_seed(1)
    model = build_unet(labels, width=4, depth=1, padded=True, input_size=32).eval()
    body = save_checkpoint(model.state_dict(), model="unet", config=model.config, labels=labels, training={})
    path.write_bytes(body)
    return model


def test_figures_are_scikit_learns_of_what_the_model_says(masks: Path, tmp_path: Path) -> None:
    model = save_model(tmp_path / "model.safetensors")
    result = run(tmp_path / "model.safetensors", "--data", masks, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    truth, said = [], []
    for k in range(4):
        drawn = decode_to_canvas((masks / f"test/images/{k}.png").read_bytes(), model.input_spec, name="it")
        (own,) = model.predict(torch.from_numpy(drawn.canvas)[None], [drawn.fit])
        with Image.open(masks / f"test/masks/{k}.png") as mask:
            truth.append(np.asarray(mask).ravel() // 255)
        said.append(own.numpy().ravel())
    pixels = np.concatenate(truth), np.concatenate(said)
    metrics = found["metrics"]
    assert metrics["pixel_accuracy"] == pytest.approx(accuracy_score(*pixels))
    assert metrics["mean_accuracy"] == pytest.approx(balanced_accuracy_score(*pixels))
    assert metrics["class_iou"] == pytest.approx(jaccard_score(*pixels, average=None).tolist())
    assert metrics["weighted_iou"] == pytest.approx(jaccard_score(*pixels, average="weighted"))
    assert (found["num_images"], found["num_failed"]) == (5, 1)
    assert found["images_per_s"] > 0
    assert found["num_parameters"] == sum(p.numel() for p in model.parameters())


def test_the_table_has_a_line_for_each_class(masks: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "model.safetensors")
    result = run(tmp_path / "model.safetensors", "--data", masks, "--split", "all")
    assert result.exit_code == 0, result.output
    for words in (*LABELS, "mean accuracy", "in 4 images", "images/s", "1 images, or their masks"):
        assert words in result.output


def test_the_page_shows_the_worst_images_first_under_their_maps(masks: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "model.safetensors")
    out = tmp_path / "out"
    result = run(tmp_path / "model.safetensors", "--data", masks, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"Report: {out}/report.html" in result.output
    found = json.loads((out / "evaluation.json").read_text())
    counts = np.array(found["counts"])
    assert counts.sum() == found["metrics"]["num_pixels"] == 4 * 24 * 36
    assert (np.diag(counts) / (counts.sum(0) + counts.sum(1) - np.diag(counts))).tolist() == pytest.approx(
        found["metrics"]["class_iou"]
    )
    with open_browser() as browser, quiet_page(browser, out / "report.html") as page:
        shown = page.locator(".classes .iou").all_inner_texts()
        assert shown == [f"{value:.3f}" for value in found["metrics"]["class_iou"]]
        assert page.evaluate("[...document.images].every(image => image.naturalWidth === 36)")
        notes = page.locator(".map-card strong").all_inner_texts()
        ious = [float(note.split(",")[0].removeprefix("IoU ")) for note in notes]
        assert len(ious) == 4
        assert ious == sorted(ious)

        def seen() -> list[float]:
            layers = page.locator(".map-card").first.locator(".layer")
            return [float(each.evaluate("node => getComputedStyle(node).opacity")) for each in layers.all()]

        assert seen() == [0.6, 0, 0]
        page.locator("input[value=wrong]").check()
        page.locator("#opacity").fill("0.25")
        assert seen() == [0, 0, 0.25]
        assert page.inner_text("#opacity-value") == "25%"
        stage = page.locator(".map-stage").first
        before = stage.bounding_box()
        stage.click()
        after = stage.bounding_box()
        assert before is not None
        assert after is not None
        assert after["width"] > 2 * before["width"]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_worst_are_kept_whatever_the_order() -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros((600, 900), np.uint8)
    truth[:, :450] = 1
    pictures = {}
    for k in range(12):
        found = truth.copy()
        found[:, 450 : 450 + 30 * (k // 2)] = 1  # two of each are equally good
        pictures[f"{k}.png"] = found
    expected = ["10.png", "11.png", "8.png", "9.png", "6.png"]
    for _ in range(5):
        worst = WorstMaps(5)
        for name in rng.permutation(sorted(pictures)).tolist():
            worst.add(name, truth, pictures[name], confusion_matrix(truth, pictures[name], 2))
        kept = worst.worst_first()
        assert [each.name for each in kept] == expected
        assert kept[0].error == pytest.approx(150 / 900)
        assert kept[0].truth.shape == (341, 512)
    worst.add("unjudged.png", np.full_like(truth, 255), truth, np.zeros((2, 2), np.int64))
    assert [each.name for each in worst.worst_first()] == expected


def test_what_cannot_be_measured(masks: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "other.safetensors", ("sky", "road", "car"))
    save_model(tmp_path / "model.safetensors")
    for arguments, words in (
        ((tmp_path / "other.safetensors",), "has the classes ('background', 'object')"),
        ((tmp_path / "model.safetensors", "--split", "val"), "no split 'val'"),
    ):
        result = run(*arguments, "--data", masks)
        assert result.exit_code == EXIT_USAGE
        assert words in " ".join(result.output.split())
