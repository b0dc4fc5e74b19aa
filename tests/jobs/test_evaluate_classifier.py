"""Measuring a classifier and a localiser on folders and boxes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from typer.testing import CliRunner

from cluster.cli import app
from cvcore.checkpoint import save_checkpoint
from cvcore.classify.base import Classifier
from cvcore.classify.darknet import build_darknet_classifier
from cvcore.classify.localizer import Localizer
from cvcore.image.decode import decode_to_canvas
from cvcore.image.fit import plan_fit
from cvcore.ops.boxes import paired_iou
from cvcore.types import DetectOptions

LABELS = ("blue", "red")
CONFIG: dict[str, Any] = {"input_size": 64, "width": 0.05}


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def save_model(path: Path, *, labels: tuple[str, ...] = LABELS, **config: Any) -> Classifier | Localizer:
    torch.manual_seed(5)
    model = build_darknet_classifier(labels, version="darknet19", **CONFIG, **config)
    body = save_checkpoint(
        model.state_dict(), model="darknet19", config=model.config, labels=labels, training={}
    )
    path.write_bytes(body)
    return model


def save_noise(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    Image.fromarray(np.uint8(pixels // (seed % 5 + 1))).save(path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folders")
    for k in range(20):
        save_noise(folder / "test" / LABELS[k % 2] / f"{k:02}.png", k)
    (folder / "test" / "red" / "broken.png").write_bytes((folder / "test/red/01.png").read_bytes()[:300])
    return folder


def test_figures_are_scikit_learns_of_what_the_model_says(folders: Path, tmp_path: Path) -> None:
    model = save_model(tmp_path / "m.safetensors")
    found = run(tmp_path / "m.safetensors", "--data", folders, "--json")
    assert found.exit_code == 0, found.output
    content = json.loads(found.output)
    truth, told = [], []
    for path in sorted((folders / "test").glob("*/[0-9]*.png")):
        canvas = decode_to_canvas(path.read_bytes(), model.input_spec).canvas
        with torch.inference_mode():
            told.append(LABELS[int(model(model.preprocess(torch.from_numpy(canvas)[None])).argmax())])
        truth.append(path.parent.name)
    metrics = content["metrics"]
    assert metrics["top1"] == pytest.approx(np.mean([a == b for a, b in zip(truth, told, strict=True)]))
    assert metrics["top5"] == 1
    figures = precision_recall_fscore_support(truth, told, labels=LABELS, zero_division=0)
    for k, each in enumerate(metrics["per_class"]):
        values = [each["precision"], each["recall"], each["f1"], each["support"]]
        assert values == pytest.approx([float(column[k]) for column in figures])
    assert metrics["confusion"] == confusion_matrix(truth, told, labels=LABELS).tolist()
    assert (content["num_images"], content["num_failed"], metrics["num_images"]) == (21, 1, 20)
    assert content["latency_p50_s"] <= content["latency_p99_s"]
    assert content["images_per_s"] > 0


def test_a_localiser_is_measured_by_class_and_place(tmp_path: Path) -> None:
    model = save_model(tmp_path / "m.safetensors", localize=True)
    assert isinstance(model, Localizer)
    images, annotations, right = [], [], []
    for k in range(12):
        path = tmp_path / "data/test/images" / f"{k}.png"
        save_noise(path, k)
        canvas = decode_to_canvas(path.read_bytes(), model.input_spec).canvas
        fits = [plan_fit(40, 56, model.input_spec)]
        (said,) = model.predict(torch.from_numpy(canvas)[None], fits, DetectOptions(min_score=0))
        x1, y1, x2, y2 = said.boxes[0].tolist()
        wide = (x2 - x1) * (1.0 if k % 3 else 0.4)  # every third box is another one
        bbox = [x1, y1, wide, y2 - y1]
        images.append({"id": k, "file_name": f"{k}.png", "width": 56, "height": 40})
        annotations.append({"id": k, "image_id": k, "category_id": k % 2, "bbox": bbox})
        there = torch.tensor([[x1, y1, x1 + wide, y2]])
        right.append(int(said.label_ids[0]) == k % 2 and float(paired_iou(said.boxes, there)[0]) >= 0.5)
    categories = [{"id": k, "name": name} for k, name in enumerate(LABELS)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "data/test/annotations.json").write_text(json.dumps(document))
    found = run(tmp_path / "m.safetensors", "--data", tmp_path / "data", "--json")
    assert found.exit_code == 0, found.output
    metrics = json.loads(found.output)["metrics"]
    assert metrics["localization_error"] == pytest.approx(1 - np.mean(right))
    assert metrics["localization_error"] > 0


def test_figures_are_told_in_tables(folders: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors")
    found = run(tmp_path / "m.safetensors", "--data", folders)
    assert found.exit_code == 0, found.output
    for words in ("precision", "Rows are true", "top-1", "images/s", "1 of the images could not be decoded"):
        assert words in found.output


def test_classes_that_the_model_does_not_know_are_named(folders: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", labels=("red", "green"))
    found = run(tmp_path / "m.safetensors", "--data", folders)
    assert found.exit_code == 2
    assert "has classes ['blue'] that are none of the model's labels ['red', 'green']" in " ".join(
        found.output.split()
    )
