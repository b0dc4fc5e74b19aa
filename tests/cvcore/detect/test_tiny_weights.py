"""The weights that ship with `tiny`, on scenes that they have never seen."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
import torch
from PIL import Image

from cvcore.checkpoint import load_into, read_checkpoint
from cvcore.darknet.detector import DarknetDetector
from cvcore.detect.yolo import build_tiny
from cvcore.image.fit import draw_fit, plan_fit
from cvcore.metrics.detection import evaluate_detections
from cvcore.scenes import coco_categories, render_scene, scene_annotations
from cvcore.train.loop import EVALUATION, coco_results

UNSEEN_SEED, NUM_SCENES = 5_000_000, 40


@pytest.fixture(scope="module")
def weights() -> bytes:
    return resources.files("cvcore").joinpath("detect/weights/tiny.safetensors").read_bytes()


@pytest.fixture(scope="module")
def model(weights: bytes) -> DarknetDetector:
    checkpoint = read_checkpoint(weights)
    built = build_tiny(checkpoint.labels, **checkpoint.config).eval()
    load_into(built, checkpoint.state)
    return built


def test_the_file_is_small_and_says_how_it_was_made(weights: bytes) -> None:
    checkpoint = read_checkpoint(weights)
    assert len(weights) <= 6_000_000
    assert checkpoint.model == "tiny"
    assert checkpoint.training["held_out"]["ap50"] >= 0.9
    assert checkpoint.training["recipe"]["seed"] == 0


def test_finds_parts_in_unseen_scenes(model: DarknetDetector) -> None:
    truth, found, images = [], [], []
    for k in range(NUM_SCENES):
        scene = render_scene(UNSEEN_SEED + k)
        height, width = scene.image.shape[:2]
        fit = plan_fit(height, width, model.input_spec)
        canvas = draw_fit(Image.fromarray(scene.image), fit, model.input_spec)
        (result,) = model.predict(torch.from_numpy(np.asarray(canvas))[None], [fit], EVALUATION)
        ids = tuple(range(1, len(model.labels) + 1))
        found += coco_results(k + 1, result, category_ids=ids)
        truth += scene_annotations(scene, image_id=k + 1, first_id=len(truth) + 1)
        images.append({"id": k + 1, "height": height, "width": width})
    document = {"images": images, "annotations": truth, "categories": coco_categories()}
    metrics = evaluate_detections(document, found)
    assert metrics.ap50 >= 0.9
    assert min(metrics.per_class_ap50.values()) >= 0.8
