from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import vgg16
from torchvision.models.detection import ssd300_vgg16
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.ops import box_iou

from cvcore.detect.labels import VOC_LABELS
from cvcore.detect.ssd import Ssd, build_ssd
from cvcore.detect.ssd_layers import AtrousFc
from cvcore.detect.ssd_layout import paper_scales
from cvcore.detect.torchvision_ssd import TorchvisionSsd
from cvcore.detect.truth import Truth
from cvcore.errors import ModelError
from cvcore.image.fit import plan_fit
from cvcore.types import DetectOptions

SMALL: dict[str, Any] = {"input_size": 96, "backbone": "squeezenet1_1", "width": 0.25}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(seed: int = 0, **changes: Any) -> Ssd:
    torch.manual_seed(seed)
    return build_ssd(("a", "b"), **{**SMALL, **changes})


@pytest.mark.parametrize(
    ("size", "sides", "per_cell", "num_boxes", "scales", "steps"),
    [
        (
            300,
            [38, 19, 10, 5, 3, 1],
            [4, 6, 6, 6, 4, 4],
            8732,
            [0.1, 0.2, 0.37, 0.54, 0.71, 0.88, 1.05],
            [8, 16, 32, 64, 100, 300],
        ),
        (
            512,
            [64, 32, 16, 8, 4, 2, 1],
            [4, 6, 6, 6, 6, 4, 4],
            24564,
            [0.07, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.05],
            [8, 16, 32, 64, 128, 256, 512],
        ),
    ],
)
def test_the_papers_two_networks(
    size: int, sides: list[int], per_cell: list[int], num_boxes: int, scales: list[float], steps: list[float]
) -> None:
    with torch.device("meta"):
        model = build_ssd(input_size=size)
        offsets, logits = model(torch.zeros(1, 3, size, size))
    assert [level.side for level in model.levels] == sides
    assert [level.per_cell for level in model.levels] == per_cell
    assert [level.step_px for level in model.levels] == steps
    assert model.config["scales"] == pytest.approx(scales)
    assert len(model.default_boxes()) == num_boxes
    assert (offsets.shape, logits.shape) == ((1, num_boxes, 4), (1, num_boxes, 21))
    assert model.labels == VOC_LABELS
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 13 + 2 + 2 * (len(sides) - 2) + 2 * len(sides)


@pytest.mark.parametrize(
    ("canvas_px", "sides_px"),
    [
        (300, [30, 60, 111, 162, 213, 264, 315]),
        (512, [35.84, 76.8, 153.6, 230.4, 307.2, 384, 460.8, 537.6]),
    ],
)
def test_default_boxes_have_the_published_sizes(canvas_px: int, sides_px: list[float]) -> None:
    """Those of the authors' configurations for VOC."""
    found = paper_scales(len(sides_px) - 1, canvas_px=canvas_px)
    assert [canvas_px * scale for scale in found] == pytest.approx(sides_px)


def test_fc6_and_fc7_are_convolutions() -> None:
    with torch.device("meta"):
        fc = build_ssd().fc
    assert isinstance(fc, AtrousFc)
    assert (fc.fc6.out_channels, fc.fc6.dilation, fc.fc6.kernel_size) == (1024, (6, 6), (3, 3))
    assert (fc.fc7.out_channels, fc.fc7.kernel_size) == (1024, (1, 1))
    assert (fc.pool5.kernel_size, fc.pool5.stride) == (3, 1)


def torchvision_twin(model: Ssd) -> TorchvisionSsd:
    """torchvision's graph with `model`'s weights, default boxes and normalisation."""
    network: Any = ssd300_vgg16(
        weights=None,
        weights_backbone=None,
        num_classes=1 + len(model.labels),
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    ratios = [list(level.ratios) for level in model.levels]
    steps = [level.step_px for level in model.levels]
    network.anchor_generator = DefaultBoxGenerator(
        ratios, scales=model.config["scales"], steps=steps, clip=False
    )
    network.load_state_dict(dict(renamed(model.state_dict())))
    return TorchvisionSsd(network, labels=("__background__", *model.labels)).eval()


def renamed(state: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """torchvision's names of an SSD300's parameters."""
    heads = {"offsets": "regression_head", "logits": "classification_head"}
    for name, value in state.items():
        first, *rest = name.split(".")
        if first == "norm":
            yield "backbone.scale_weight", value
        elif first == "trunk" and int(rest[1]) < 23:
            yield f"backbone.features.{rest[1]}.{rest[2]}", value
        elif first == "trunk":
            yield f"backbone.extra.0.{int(rest[1]) - 23}.{rest[2]}", value
        elif first == "fc":
            yield f"backbone.extra.0.7.{ {'fc6': 1, 'fc7': 3}[rest[0]] }.{rest[1]}", value
        elif first == "extras":
            yield f"backbone.extra.{int(rest[1]) + 1}.{rest[2]}.{rest[3]}", value
        else:
            yield f"head.{heads[first]}.module_list.{rest[1]}.{rest[2]}", value


def test_ssd300_is_torchvisions_graph() -> None:
    torch.manual_seed(0)
    model = build_ssd(("a", "b", "c")).eval()
    nn.init.uniform_(model.norm.scale, 5.0, 30.0)
    twin = torchvision_twin(model)
    canvases = torch.randint(0, 256, (1, 300, 300, 3), dtype=torch.uint8)
    fits = [plan_fit(300, 300, model.input_spec)]
    options = DetectOptions(min_score=0.2, max_detections=50)
    with torch.inference_mode():
        images = model.preprocess(canvases)
        raw, (boxes, logits) = model(images), twin(images)
        assert torch.allclose(images, twin.preprocess(canvases), atol=1e-6)
        outputs = twin.network.head(list(twin.network.backbone(images).values()))
        found, expected = model.decode(raw, fits, options)[0], twin.decode((boxes, logits), fits, options)[0]
    assert raw[1].std() > 0.01
    assert torch.allclose(raw[0], outputs["bbox_regression"], atol=1e-3)
    assert torch.allclose(raw[1], logits, atol=1e-3)
    assert len(found) == len(expected) > 5
    assert torch.allclose(found.scores, expected.scores, atol=1e-4)
    assert torch.equal(found.label_ids, expected.label_ids - 1)
    assert torch.allclose(found.boxes, expected.boxes, atol=0.05)


@pytest.mark.parametrize("size", [32, 96, 111, 200, 227, 320])
def test_any_size_has_a_head_output_for_each_default_box(size: int) -> None:
    model = small(input_size=size)
    offsets, logits = model(torch.rand(1, 3, size, size))
    assert offsets.shape[1] == logits.shape[1] == len(model.default_boxes())
    assert model.levels[0].step_px == 8
    assert model.levels[-1].side == 1


def test_config_is_json_and_rebuilds_the_model() -> None:
    one = small(scales=[0.07, 0.2, 0.4, 0.7, 1.0], clip=True).eval()
    again = build_ssd(one.labels, **json.loads(json.dumps(one.config))).eval()
    again.load_state_dict(one.state_dict())
    images = torch.rand(1, 3, 96, 96)
    assert all(torch.equal(a, b) for a, b in zip(one(images), again(images), strict=True))
    assert torch.equal(one.default_boxes(), again.default_boxes())
    assert again.config == one.config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_size": 31}, "at least 32 px, got 31"),
        ({"width": 0}, "width must be above 0"),
        ({"backbone": "vgg19"}, "backbone must be one of vgg16"),
        ({"scales": [0.1, 0.2]}, r"scales must be 5 positive shares.*got \[0.1, 0.2\]"),
    ],
)
def test_refuses_impossible_configurations(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**change)


def test_a_batch_gives_what_single_images_give() -> None:
    model = small().eval()
    canvases = torch.randint(0, 256, (3, 96, 96, 3), dtype=torch.uint8)
    fits = [plan_fit(60, 200, model.input_spec)] * 3
    options = DetectOptions(min_score=0.3, max_detections=20)
    with torch.inference_mode():
        raw = model(model.preprocess(canvases))
        batched = model.postprocess(raw, fits, options)
        for k in range(3):
            own = model(model.preprocess(canvases[k : k + 1]))
            assert all(torch.allclose(part[k], one[0], atol=1e-4) for part, one in zip(raw, own, strict=True))
            alone = model.postprocess((raw[0][k : k + 1], raw[1][k : k + 1]), fits[:1], options)[0]
            assert len(alone) > 3
            assert torch.equal(batched[k].boxes, alone.boxes)
            assert torch.equal(batched[k].scores, alone.scores)


@pytest.mark.parametrize("backbone", ["vgg16", "squeezenet1_1"])
def test_gradients_reach_every_parameter(backbone: str) -> None:
    model = small(backbone=backbone, width=0.5)
    last = torch.tensor([level.num_boxes for level in model.levels]).cumsum(0) - 1
    boxes = model.default_boxes()[last]  # One that each map answers for.
    truth = Truth(boxes, torch.arange(len(last)) % 2, torch.arange(len(last)) % 2)
    model.losses(torch.rand(2, 3, 96, 96), truth)["total"].backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_images_without_objects_train() -> None:
    model = small()
    truth = Truth(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    terms = model.losses(torch.rand(2, 3, 96, 96), truth)
    terms["total"].backward()
    assert set(terms) == {"total", "box", "classes"}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    weight = model.logits.levels[0].weight
    assert weight.grad is not None


def test_starts_from_a_classifier_with_its_linear_layers() -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in vgg16(weights=None).state_dict().items()}
    state = {key: torch.empty(shape).uniform_() for key, shape in shapes.items() if "classifier.6" not in key}
    model = small(backbone="vgg16")
    model.load_backbone(state, name="vgg16")
    own = model.state_dict()
    assert torch.equal(own["trunk.features.28.weight"], state["features.28.weight"])
    full = state["classifier.0.weight"].view(4096, 512, 7, 7)
    assert torch.equal(own["fc.fc6.weight"][3, 5], full[12, 5][[0, 3, 6]][:, [0, 3, 6]])
    assert own["fc.fc7.weight"][2, 7, 0, 0] == state["classifier.3.weight"][8, 28]
    assert own["fc.fc7.bias"][5] == state["classifier.3.bias"][20]

    before = own["fc.fc6.weight"].clone()
    del state["classifier.3.bias"]
    with pytest.raises(ModelError, match=r"mine do not fit VGG16's fc6 and fc7: classifier\.3\.bias"):
        model.load_backbone(state, name="mine")
    features = {key: value for key, value in state.items() if key.startswith("features")}
    model.load_backbone(features, name="features alone")
    assert torch.equal(model.state_dict()["fc.fc6.weight"], before)


def test_learns_two_images_by_heart() -> None:
    model = small(seed=3, width=0.25, scales=[0.15, 0.3, 0.5, 0.8, 1.0])
    canvases = torch.full((2, 96, 96, 3), 60, dtype=torch.uint8)
    boxes = torch.tensor([[10.0, 20, 40, 50], [50.0, 55, 80, 85], [60.0, 10, 78, 26], [4.0, 40, 50, 90]])
    labels, images = torch.tensor([0, 1, 1, 0]), torch.tensor([0, 0, 1, 1])
    colours = torch.tensor([[220, 40, 40], [40, 40, 220]], dtype=torch.uint8)
    for (x1, y1, x2, y2), label, image in zip(boxes.int().tolist(), labels, images, strict=True):
        canvases[image, y1:y2, x1:x2] = colours[label]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    inputs, truth = model.preprocess(canvases), Truth(boxes, labels, images)
    for _ in range(80):
        optimizer.zero_grad()
        model.losses(inputs, truth)["total"].backward()
        optimizer.step()
    fits = [plan_fit(96, 96, model.input_spec)] * 2
    found = model.eval().predict(canvases, fits, DetectOptions(min_score=0.5))
    for k, one in enumerate(found):
        overlap = box_iou(boxes[images == k], one.boxes)
        assert overlap.shape == (2, 2)
        assert (overlap.max(dim=1).values > 0.8).all()
        assert torch.equal(one.label_ids[overlap.argmax(dim=1)], labels[images == k])
