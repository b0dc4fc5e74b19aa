"""Boxes and operations, as papers state them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cvcore.catalog import find_model
from cvcore.detect.base import Detector, ProposalDetector
from cvcore.detect.cost import count_operations, measure_cost
from cvcore.image.fit import plan_fit
from cvcore.models import build_entry


def build(name: str, **config: Any) -> Detector:
    model = build_entry(find_model(name), None, config, name=name)
    assert isinstance(model, Detector)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "boxes"),
    [
        ("ssd300", 8_732),
        ("ssd512", 24_564),
        ("yolov1", 98),
        ("yolov2", 845),
        ("yolov3", 10_647),
        ("faster_rcnn", 6_000),
        ("ssd300_vgg16", 8_732),
    ],
)
def test_boxes_are_as_many_as_published(name: str, boxes: int) -> None:
    with torch.device("meta"):
        model = build(name)
        side = 1000 if name == "faster_rcnn" else model.input_spec.width
        image = torch.empty(3, 600 if name == "faster_rcnn" else side, side)
        images = [image] if name == "faster_rcnn" else image[None]
        assert model.count_boxes(images) == boxes


def test_published_operations_of_yolov3_are_counted_with_two_a_multiply_add() -> None:
    with torch.device("meta"):
        model = build("yolov3", input_size=416)
        counted = count_operations(model, torch.empty(1, 3, 416, 416))
    # Darknet prints 65.9 for COCO's 80 classes; the heads of VOC's 20 are smaller.
    assert counted / 1e9 == pytest.approx(65.4, abs=0.3)


@pytest.mark.parametrize("name", ["tiny", "yolov2_tiny"])
def test_the_cfg_and_the_counter_of_torch_agree(name: str) -> None:
    model = build(name, input_size=64)
    images = torch.zeros(1, 3, 64, 64)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    assert count_operations(model, images) == counter.get_total_flops()


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("ssd300", {"backbone": "squeezenet1_1", "width": 0.1, "input_size": 96}),
        ("faster_rcnn", {"backbone": "squeezenet1_1", "shortest_edge": 96, "canvas": [96, 128],
                         "head_width": 16, "rpn_width": 16}),
        ("fasterrcnn_mobilenet_v3_large_320_fpn", {}),
    ],
)  # fmt: skip
def test_every_kind_of_detector_has_a_cost(name: str, config: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = build(name, **config)
    spec = model.input_spec
    canvas = torch.randint(0, 256, (spec.height, spec.width, 3), dtype=torch.uint8)
    cost = measure_cost(model, canvas, plan_fit(90, 120, spec))
    assert cost.num_parameters == sum(p.numel() for p in model.parameters())
    assert cost.num_operations > 1e6
    assert cost.num_boxes is not None
    assert 0 < cost.num_boxes <= 100_000


def test_the_boxes_of_a_detector_of_proposals_are_those() -> None:
    model = build("fast_rcnn", backbone="squeezenet1_1", shortest_edge=96, canvas=[96, 96], head_width=16)
    assert isinstance(model, ProposalDetector)
    canvas = torch.zeros(1, 96, 96, 3, dtype=torch.uint8)
    regions = torch.tensor([[0.0, 0, 20, 20], [10, 10, 50, 60], [30, 30, 90, 90]])
    assert model.count_boxes(model.preprocess(canvas, None, [regions])) == 3
