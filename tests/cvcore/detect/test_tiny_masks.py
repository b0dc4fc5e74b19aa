"""`tiny_masks`: its boxes are tiny's, and its shipped head draws parts that it has never seen."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cvcore.catalog import CATALOG, read_shipped
from cvcore.checkpoint import load_into, read_checkpoint, save_checkpoint
from cvcore.checkpoint_base import Base
from cvcore.detect.tiny_masks import TinyMasks, build_tiny_masks, spread_boxes
from cvcore.detect.truth import Truth
from cvcore.errors import ModelError, WeightsError
from cvcore.image.fit import Fit, draw_fit, plan_fit
from cvcore.metrics.mask_quality import assess_masks
from cvcore.models import ModelSource, build_model
from cvcore.scenes import coco_categories, render_scene, scene_annotations
from cvcore.shipping import leave_out_base
from cvcore.start import start_from
from cvcore.train.freeze import freeze, hold_frozen_norms
from cvcore.train.loop import EVALUATION, coco_results
from cvcore.types import DetectOptions

UNSEEN_SEED, NUM_SCENES = 5_000_000, 12
BOXES = torch.tensor([[10.0, 20.0, 40.0, 50.0], [50.0, 55.0, 80.0, 85.0]])


def shipped(name: str) -> bytes:
    return read_shipped(CATALOG[name].weights or "")


@pytest.fixture(scope="module")
def model() -> TinyMasks:
    built = build_model(ModelSource("tiny_masks", weights=shipped("tiny_masks")))
    assert isinstance(built, TinyMasks)
    return built


@pytest.fixture(scope="module")
def seen(model: TinyMasks) -> tuple[list[dict[str, object]], Tensor, list[Fit]]:
    """The true parts of unseen scenes, their canvases, and how they were fitted."""
    truth: list[dict[str, object]] = []
    canvases, fits = [], []
    for k in range(NUM_SCENES):
        scene = render_scene(UNSEEN_SEED + k)
        fit = plan_fit(*scene.image.shape[:2], model.input_spec)
        canvas = draw_fit(Image.fromarray(scene.image), fit, model.input_spec)
        canvases.append(torch.from_numpy(np.array(canvas)))
        fits.append(fit)
        truth += scene_annotations(scene, image_id=k + 1, first_id=len(truth) + 1)
    return truth, torch.stack(canvases), fits


def test_boxes_scores_and_labels_are_tinys_to_the_bit(
    model: TinyMasks, seen: tuple[list[dict[str, object]], Tensor, list[Fit]]
) -> None:
    tiny = build_model(ModelSource("tiny", weights=shipped("tiny")))
    _, canvases, fits = seen
    for ours, theirs in zip(
        model.predict(canvases, fits, EVALUATION),
        tiny.predict(canvases, fits, EVALUATION),  # type: ignore[operator]
        strict=True,
    ):
        assert len(theirs)
        assert torch.equal(ours.boxes, theirs.boxes)
        assert torch.equal(ours.scores, theirs.scores)
        assert torch.equal(ours.label_ids, theirs.label_ids)


def test_draws_parts_in_unseen_scenes(
    model: TinyMasks, seen: tuple[list[dict[str, object]], Tensor, list[Fit]]
) -> None:
    truth, canvases, fits = seen
    images = [
        {"id": k + 1, "height": fit.source_height, "width": fit.source_width} for k, fit in enumerate(fits)
    ]
    found: list[dict[str, object]] = []
    for k, each in enumerate(model.predict(canvases, fits, EVALUATION)):
        found += coco_results(k + 1, each, category_ids=tuple(range(1, len(model.labels) + 1)))
    document = {"images": images, "annotations": truth, "categories": coco_categories()}
    assert assess_masks(document, found).metrics.ap50 >= 0.85


def test_the_shipped_file_is_the_head_alone_and_says_how_it_was_made() -> None:
    body = shipped("tiny_masks")
    assert len(body) < 1_000_000
    checkpoint = read_checkpoint(body)
    assert checkpoint.training["recipe"]["freeze"] == "detector"
    assert checkpoint.training["held_out"]["mask_ap50"] >= 0.85
    tiny = read_checkpoint(shipped("tiny")).state
    assert all(torch.equal(checkpoint.state[f"detector.{key}"], value) for key, value in tiny.items())


def test_leaving_the_base_out_gives_the_shipped_file_again() -> None:
    body = shipped("tiny_masks")
    whole = read_checkpoint(body)
    about = {"model": whole.model, "config": whole.config, "labels": whole.labels, "training": whole.training}
    full = save_checkpoint(whole.state, **about)  # type: ignore[arg-type]
    base = Base.of("tiny", prefix="detector.")
    assert leave_out_base(full, base=base) == body
    whole.state["detector.network.blocks.0.conv.weight"][0] += 1
    with pytest.raises(WeightsError, match=r"blocks\.0\.conv\.weight is not tiny's"):
        leave_out_base(save_checkpoint(whole.state, **about), base=base)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("base", "words"),
    [
        pytest.param(replace(Base.of("tiny", prefix=""), sha256="0" * 64), "another version", id="changed"),
        pytest.param(Base("ssd300", "0" * 64, ""), "only those of tiny, tiny_masks", id="does not ship"),
        pytest.param(Base("../x", "0" * 64, ""), "no weights of '../x' ship", id="a path"),
    ],
)
def test_a_base_that_is_not_there_is_refused(base: Base, words: str) -> None:
    body = save_checkpoint({}, model="tiny_masks", config={}, labels=["a"], training={}, base=base)
    with pytest.raises(WeightsError, match=words):
        read_checkpoint(body)


def small(labels: tuple[str, ...] = ("a", "b")) -> TinyMasks:
    torch.manual_seed(0)
    return build_tiny_masks(labels, width=8, input_size=96, mask_width=16, mask_convs=1)


def picture() -> tuple[Tensor, Truth]:
    """A canvas with a disc in each box, which are its masks."""
    rows, columns = torch.meshgrid(torch.arange(96.0) + 0.5, torch.arange(96.0) + 0.5, indexing="ij")
    centres = BOXES.view(2, 2, 2).mean(dim=1)
    masks = (columns - centres[:, 0, None, None]) ** 2 + (rows - centres[:, 1, None, None]) ** 2 < 15**2
    canvas = torch.full((1, 96, 96, 3), 60, dtype=torch.uint8)
    for mask, color in zip(masks, ([220, 40, 40], [40, 40, 220]), strict=True):
        canvas[0, mask] = torch.tensor(color, dtype=torch.uint8)
    return canvas, Truth(BOXES, torch.tensor([0, 1]), torch.tensor([0, 0]), masks.to(torch.uint8))


def test_config_is_json_and_rebuilds_the_model() -> None:
    model = small()
    again = build_tiny_masks(model.labels, **json.loads(json.dumps(model.config)))
    load_into(again, model.state_dict())
    canvas, _ = picture()
    fits, options = [plan_fit(96, 96, model.input_spec)], DetectOptions(min_score=0.0, max_detections=5)
    (first,), (second,) = (each.predict(canvas, fits, options) for each in (model, again))
    assert first.masks is not None
    assert second.masks is not None
    assert torch.equal(first.masks, second.masks)


def test_the_head_alone_learns_where_the_detector_is_frozen() -> None:
    model = small()
    freeze(model, "detector")
    before = {key: value.clone() for key, value in model.detector.state_dict().items()}
    model.train()
    hold_frozen_norms(model)
    canvas, truth = picture()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=5e-3)
    images, losses = model.preprocess(canvas), []
    for _ in range(40):
        optimizer.zero_grad()
        terms = model.losses(images, truth)
        assert terms.keys() == {"mask", "total"}
        terms["total"].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(terms["total"].item())
    assert losses[-1] < 0.5 * losses[0]
    assert all(torch.equal(before[key], value) for key, value in model.detector.state_dict().items())


def test_boxes_and_masks_learn_together() -> None:
    model = small().train()
    canvas, truth = picture()
    terms = model.losses(model.preprocess(canvas), truth)
    assert terms.keys() > {"mask", "total"}
    terms["total"].backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in model.parameters())
    own = model.detector.losses(model.preprocess(canvas), truth)["total"]
    assert (terms["total"] - terms["mask"]).item() == pytest.approx(own.item(), rel=1e-4)


def test_a_batch_without_objects_has_a_loss() -> None:
    model = small().train()
    canvas, _ = picture()
    none = torch.zeros(0, dtype=torch.int64)
    truth = Truth(torch.zeros(0, 4), none, none, torch.zeros(0, 96, 96, dtype=torch.uint8))
    terms = model.losses(model.preprocess(canvas), truth)
    assert terms["mask"] == 0
    assert torch.isfinite(terms["total"])
    with pytest.raises(ValueError, match="the truth has none"):
        model.losses(model.preprocess(canvas), replace(truth, masks=None))


def test_boxes_of_training_are_near_the_true_ones_and_on_the_canvas() -> None:
    torch.manual_seed(0)
    boxes, rows = spread_boxes(BOXES, height=96, width=84)
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert boxes.min() >= 0
    assert (boxes[:, 2::4] <= 84).all()
    assert (boxes - BOXES[rows]).abs().max() < 15
    assert not torch.equal(boxes, BOXES[rows])
    assert spread_boxes(BOXES[:0], height=96, width=96)[0].shape == (0, 4)


def test_starts_from_tiny_and_from_itself() -> None:
    model = build_tiny_masks()
    start_from(model, shipped("tiny"), name="tiny")
    tiny = read_checkpoint(shipped("tiny")).state
    assert all(torch.equal(model.detector.state_dict()[key], value) for key, value in tiny.items())
    start_from(model, shipped("tiny_masks"), name="tiny_masks")
    head = read_checkpoint(shipped("tiny_masks")).state["mask_head.masks.weight"]
    assert torch.equal(model.mask_head.masks.weight, head)
    with pytest.raises(ModelError, match="does not fit a DarknetDetector"):
        start_from(small(), shipped("tiny"), name="tiny")
