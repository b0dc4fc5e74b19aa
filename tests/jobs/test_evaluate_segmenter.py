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
from cvcore.segment.base import Segmenter
from cvcore.segment.unet import build_unet

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


def test_what_cannot_be_measured(masks: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "other.safetensors", ("sky", "road", "car"))
    save_model(tmp_path / "model.safetensors")
    for arguments, words in (
        ((tmp_path / "other.safetensors",), "has the classes ('background', 'object')"),
        ((tmp_path / "model.safetensors", "--out", tmp_path / "page"), "--out is of detectors"),
        ((tmp_path / "model.safetensors", "--split", "val"), "no split 'val'"),
    ):
        result = run(*arguments, "--data", masks)
        assert result.exit_code == EXIT_USAGE
        assert words in " ".join(result.output.split())
