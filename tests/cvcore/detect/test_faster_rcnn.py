from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor
from torchvision.models import squeezenet1_1
from torchvision.ops import box_iou

from cvcore.detect.faster_rcnn import FasterRcnn, build_faster_rcnn
from cvcore.errors import ModelError
from cvcore.image.fit import plan_fit
from cvcore.types import DetectOptions
from tests.cvcore.detect.rcnn_samples import BOXES, canvas, no_truth, train, truth

OPTIONS = DetectOptions(min_score=0.02, nms_iou=0.3)


def small(seed: int = 0) -> FasterRcnn:
    torch.manual_seed(seed)
    return build_faster_rcnn(
        ("red", "blue"),
        backbone="squeezenet1_1",
        stride=8,
        shortest_edge=96,
        canvas=(96, 128),
        anchor_sizes=(24, 48),
        rpn_width=32,
        narrow_to=64,
        pool="align",
        head_width=64,
        dropout=0.0,
        proposals=40,
        training_proposals=100,
        regions_per_image=32,
    )


def test_the_paper_by_default() -> None:
    with torch.device("meta"):
        model = build_faster_rcnn()
    assert (model.config["backbone"], model.trunk.last_stride) == ("vgg16", 16)
    assert len([m for m in model.trunk.modules() if isinstance(m, torch.nn.Conv2d)]) == 13
    assert (model.rpn.scores.out_channels, model.rpn.offsets.out_channels) == (2 * 9, 4 * 9)
    assert (model.proposals, model.training_proposals) == (300, 2000)
    assert len(model.labels) == 20
    fit = plan_fit(375, 500, model.input_spec)
    assert (fit.content_height, fit.content_width) == (600, 800)
    assert plan_fit(300, 600, model.input_spec).content_width == 1000


def test_config_is_json_and_rebuilds_the_model() -> None:
    model = small().eval()
    again = build_faster_rcnn(model.labels, **json.loads(json.dumps(model.config))).eval()
    again.load_state_dict(model.state_dict())
    with torch.inference_mode():
        first, second = (m(m.preprocess(canvas())) for m in (model, again))
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.boxes, second.boxes)
    assert again.config == model.config


def test_runs_and_learns_in_bfloat16() -> None:
    model = small()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model.losses(model.preprocess(canvas()), truth())
    losses["total"].backward()  # type: ignore[no-untyped-call]
    exact = model.losses(model.preprocess(canvas()), truth())["total"]
    assert losses["total"].item() == pytest.approx(exact.item(), rel=0.2)
    model.bfloat16().eval()
    with torch.inference_mode():
        raw = model(model.preprocess(canvas()))
    assert model.finite(raw) == [True]
    assert raw.boxes.dtype == raw.logits.dtype == torch.float32


def test_every_parameter_learns() -> None:
    model = small()
    losses = model.losses(model.preprocess(canvas()), truth())
    losses["total"].backward()  # type: ignore[no-untyped-call]
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not still
    assert torch.allclose(losses["total"], sum(losses.values(), torch.zeros(())) - losses["total"])


def test_images_without_objects_teach_the_background() -> None:
    model = small()
    losses = model.losses(model.preprocess(canvas().repeat(2, 1, 1, 1)), no_truth())
    losses["total"].backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(losses["total"])
    assert losses["classes"] > 0
    assert losses["box"] == losses["proposal_box"] == 0


def mixed() -> tuple[Tensor, list[tuple[int, int]]]:
    """Three canvases of images of two shapes."""
    generator = torch.Generator().manual_seed(1)
    canvases = torch.randint(0, 256, (3, 96, 128, 3), dtype=torch.uint8, generator=generator)
    return canvases, [(96, 128), (128, 96), (192, 256)]


def test_a_batch_gives_what_single_images_give() -> None:
    model = small().eval()
    canvases, sizes = mixed()
    fits = [plan_fit(height, width, model.input_spec) for height, width in sizes]
    options = DetectOptions(min_score=0.05, nms_iou=0.3)
    together = model.predict(canvases, fits, options)
    for k in range(3):
        (alone,) = model.predict(canvases[k : k + 1], fits[k : k + 1], options)
        assert len(alone)
        torch.testing.assert_close(together[k].boxes, alone.boxes, atol=1e-2, rtol=0)
        torch.testing.assert_close(together[k].scores, alone.scores, atol=1e-4, rtol=0)


def test_an_image_that_is_not_finite_is_told_and_harms_no_other() -> None:
    model = small().eval()
    canvases, sizes = mixed()
    fits = [plan_fit(height, width, model.input_spec) for height, width in sizes]
    with torch.inference_mode():
        images = model.preprocess(canvases, fits)
        expected = model.postprocess(model(images), fits, OPTIONS)[2]
        images[0] = images[0].clone()
        images[0][1, 40, 50] = torch.nan
        raw = model(images)
    assert model.finite(raw) == [False, True, True]
    found = model.postprocess(raw, fits, OPTIONS)[2]
    torch.testing.assert_close(found.boxes, expected.boxes, atol=1e-2, rtol=0)


def test_starts_from_a_classifier() -> None:
    model = small()
    state = squeezenet1_1(weights=None).state_dict()
    model.load_backbone(state, name="squeezenet")
    assert torch.equal(model.trunk.features[0].weight, state["features.0.weight"])
    with pytest.raises(ModelError, match=r"half of it do not fit: 18 missing"):
        model.load_backbone({k: v for k, v in state.items() if "features.1" not in k}, name="half of it")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": "lenet"}, "vgg16"),
        ({"anchor_sizes": ()}, "anchor_sizes"),
        ({"anchor_ratios": (0.0,)}, "positive"),
        ({"narrow_to": 0}, "narrow_to must be at least 1"),
        ({"proposals": 0}, "proposals must be at least 1"),
        ({"pool": "mean", "backbone": "squeezenet1_1", "head_width": 8}, "max, align"),
    ],
)
def test_impossible_configurations_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_faster_rcnn(("a",), **change)  # type: ignore[arg-type]


def test_learns_one_image_by_heart() -> None:
    model = small()
    losses = train(model, lambda: model.preprocess(canvas()), steps=70, rate=2e-3)
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    fit = plan_fit(96, 128, model.input_spec)
    (found,) = model.eval().predict(canvas(), [fit], DetectOptions(min_score=0.5, nms_iou=0.3))
    best = [int((found.label_ids == label).nonzero()[0]) for label in (0, 1)]
    assert (box_iou(found.boxes[best], BOXES).diagonal() > 0.6).all()
