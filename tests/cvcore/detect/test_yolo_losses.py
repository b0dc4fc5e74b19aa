"""The papers' losses of YOLO v1, v2 and v3 on numbers worked out by hand, and what holds for all of them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cvcore.darknet.cfg import parse_cfg
from cvcore.darknet.detector import DarknetDetector
from cvcore.darknet.detectors import yolov1_cfg, yolov2_cfg
from cvcore.darknet.layers import Detection, Region
from cvcore.detect.truth import Truth
from cvcore.detect.yolo import build_yolo
from cvcore.detect.yolo_loss import PAPER, yolo_loss
from cvcore.detect.yolo_v1_loss import YoloV1LossOptions, yolo_v1_loss
from cvcore.detect.yolo_v2_loss import YoloV2LossOptions, yolo_v2_loss
from cvcore.errors import ModelError
from cvcore.image.fit import plan_fit
from cvcore.types import DetectOptions

NOTHING = Truth(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
VERSIONS = {
    "v1": {"version": "v1", "width": 0.02, "input_size": 128},
    "v1-fast": {"version": "v1-fast", "width": 0.05, "input_size": 128},
    "v1-vgg16": {"version": "v1-vgg16", "width": 0.03, "input_size": 128},
    "v1-squeezenet": {"version": "v1-squeezenet1_1", "width": 0.03, "input_size": 128},
    "v1-tied": {"version": "v1-tiny", "width": 0.1, "input_size": 128, "tied": True},
    "v2": {"version": "v2", "width": 0.05, "input_size": 96},
    "v2-tiny": {"version": "v2-tiny", "width": 0.1, "input_size": 96},
    "v3": {"version": "v3", "width": 0.05, "input_size": 96},
    "v3 dense": {"version": "v3", "width": 0.05, "input_size": 96, "loss": "dense"},
    "v3-tiny": {"version": "v3-tiny", "width": 0.05, "input_size": 96},
}
every_version = pytest.mark.parametrize("name", VERSIONS)


def small(name: str, *, seed: int = 0) -> DarknetDetector:
    torch.manual_seed(seed)
    return build_yolo(("a", "b"), **VERSIONS[name])  # type: ignore[arg-type]


def one(box: list[float], label_id: int = 0) -> Truth:
    return Truth(torch.tensor([box]), torch.tensor([label_id]), torch.tensor([0]))


def v1_head() -> Detection:
    head = parse_cfg(yolov1_cfg(num_classes=2, size=128, width=0.02, body="tiny")).heads[0]
    assert isinstance(head, Detection)
    return head


def v1_raw(
    probabilities: dict[tuple[int, int], list[float]],
    boxes: dict[tuple[int, int, int], tuple[float, list[float]]],
) -> Tensor:
    """What the head of 2 x 2 cells, 2 boxes and 2 classes reads: by row, column (and box); 0 elsewhere."""
    classes, confidence, geometry = torch.zeros(2, 2, 2), torch.zeros(2, 2, 2), torch.zeros(2, 2, 2, 4)
    for (row, column), values in probabilities.items():
        classes[row, column] = torch.tensor(values)
    for (row, column, box), (score, values) in boxes.items():
        confidence[row, column, box], geometry[row, column, box] = score, torch.tensor(values)
    return torch.cat([part.flatten() for part in (classes, confidence, geometry)])[None, :, None, None]


def v1_loss(raw: Tensor, truth: Truth) -> dict[str, float]:
    found = yolo_v1_loss(v1_head(), raw, truth, height=128, width=128, options=YoloV1LossOptions())
    return {name: float(value) for name, value in found.items()}


def test_v1_is_equation_3() -> None:
    """A truth of 32 x 32 px in the middle of cell (row 0, column 1); its second box is right but for x."""
    right = [0.5, 0.5, 0.5, 0.5]  # the centre of the cell; sqrt(32 / 128) twice
    off = [0.75, *right[1:]]  # 16 px to the right: IoU 16 / 48
    raw = v1_raw({(0, 1): [0.7, 0.2]}, {(0, 1, 0): (0.3, [0.1, 0.1, 0.2, 0.2]), (0, 1, 1): (0.9, off)})
    found = v1_loss(raw, one([80.0, 16.0, 112.0, 48.0]))
    assert found["box"] == pytest.approx(0.25**2)
    assert found["objectness"] == pytest.approx((0.9 - 1 / 3) ** 2)
    assert found["background"] == pytest.approx(0.3**2)
    assert found["classes"] == pytest.approx(0.3**2 + 0.2**2)
    expected = 5 * 0.0625 + (0.9 - 1 / 3) ** 2 + 0.5 * 0.09 + 0.13
    assert found["total"] == pytest.approx(expected)


def test_v1s_cell_answers_for_the_first_of_two_objects() -> None:
    boxes = torch.tensor([[80.0, 16.0, 112.0, 48.0], [70.0, 10.0, 90.0, 30.0]])
    both = Truth(boxes, torch.tensor([0, 1]), torch.tensor([0, 0]))
    raw = torch.rand(1, 2 * 2 * (2 + 10), 1, 1, generator=torch.Generator().manual_seed(0))
    assert v1_loss(raw, both) == pytest.approx(v1_loss(raw, one([80.0, 16.0, 112.0, 48.0])))


def v2_head() -> Region:
    cfg = parse_cfg(yolov2_cfg(num_classes=2, size=64, width=0.05, anchors=[(16.0, 16.0), (48.0, 40.0)]))
    assert isinstance(cfg.heads[0], Region)
    return cfg.heads[0]


def v2_loss(raw: Tensor, truth: Truth) -> dict[str, float]:
    found = yolo_v2_loss(v2_head(), raw, truth, height=64, width=64, options=YoloV2LossOptions())
    return {name: float(value) for name, value in found.items()}


def test_v2_on_one_box() -> None:
    """2 x 2 cells of 32 px; the second anchor's shape answers for a truth in cell (row 1, column 0)."""
    raw = torch.zeros(1, 2, 7, 2, 2)
    raw[:, :, 4] = -20.0  # nothing anywhere
    raw[0, 1, :, 1, 0] = torch.tensor([0.0, 0.0, math.log(1.2), 0.0, 0.0, 2.0, 0.0])
    truth = one([-8.0, 28.0, 40.0, 68.0])  # 48 x 40, centred on the cell's middle
    found = v2_loss(raw.flatten(1, 2), truth)
    weight = 2 - 48 * 40 / 64**2
    assert found["box"] == pytest.approx(weight * math.log(1.2) ** 2, rel=1e-5)
    assert found["objectness"] == pytest.approx((1 / 1.2 - 0.5) ** 2, rel=1e-5)
    assert found["background"] == pytest.approx(0.0, abs=1e-12)
    assert found["classes"] == pytest.approx(math.log(1 + math.exp(-2.0)), rel=1e-5)
    expected = found["box"] + 5 * found["objectness"] + found["classes"]
    assert found["total"] == pytest.approx(expected, rel=1e-5)


def test_v2_does_not_call_a_good_box_background() -> None:
    """The truth is the first anchor's; the second, beside it, decodes to almost the same box."""
    raw = torch.zeros(1, 2, 7, 2, 2)
    raw[0, 1, 2:4, 0, 0] = torch.tensor([math.log(16 / 48), math.log(16 / 40)])
    truth = one([8.0, 8.0, 24.0, 24.0])
    ignored = v2_loss(raw.flatten(1, 2), truth)["background"]
    raw[0, 1, 2:4, 0, 0] = 0.0
    assert ignored == pytest.approx(v2_loss(raw.flatten(1, 2), truth)["background"] - 0.25)


def test_v3s_paper_loss_on_one_box() -> None:
    """4 x 4 cells of 16 px and one anchor: one cell answers, for offsets and an objectness of 1."""
    anchors = [torch.tensor([[20.0, 20.0]])]
    raw = torch.zeros(1, 1, 6, 4, 4)
    raw[:, :, 4] = -20.0
    raw[0, 0, :, 2, 1] = torch.tensor([0.0, 0.0, 0.1, -0.2, 1.0, 3.0])
    truth = one([14.0, 30.0, 34.0, 50.0])  # centred on (24, 40): the middle of cell (row 2, column 1)
    found = yolo_loss([raw.flatten(1, 2)], truth, anchors, [16.0], scale_xy=1.0, options=PAPER)
    weight = 2 - 400 / 64**2
    assert float(found["box"]) == pytest.approx(weight * (0.01 + 0.04), rel=1e-4)
    assert float(found["objectness"]) == pytest.approx(math.log(1 + math.exp(-1.0)), rel=1e-4)
    assert float(found["classes"]) == pytest.approx(math.log(1 + math.exp(-3.0)), rel=1e-4)


def batch_of_two() -> Truth:
    boxes = [[10.0, 12.0, 50.0, 44.0], [30.0, 40.0, 90.0, 92.0], [5.0, 50.0, 25.0, 80.0]]
    return Truth(torch.tensor(boxes), torch.tensor([0, 1, 1]), torch.tensor([0, 1, 1]))


@every_version
def test_gradients_reach_every_parameter(name: str) -> None:
    model = small(name).train()
    side = model.input_spec.height
    model.losses(torch.rand(2, 3, side, side), batch_of_two())["total"].backward()
    silent = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


@every_version
def test_a_batch_without_objects_trains(name: str) -> None:
    model = small(name).train()
    side = model.input_spec.height
    terms = model.losses(torch.rand(2, 3, side, side), NOTHING)
    assert float(terms["box"].detach()) == float(terms["classes"].detach()) == 0
    terms["total"].backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


@every_version
def test_swapping_the_images_of_a_batch_changes_nothing(name: str) -> None:
    model, truth = small(name).eval(), batch_of_two()
    side = model.input_spec.height
    images = torch.rand(2, 3, side, side)
    swapped = Truth(truth.boxes, truth.label_ids, 1 - truth.image_index)
    one_way, other = model.losses(images, truth), model.losses(images.flip(0), swapped)
    for key, value in one_way.items():
        torch.testing.assert_close(value, other[key], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["v1-fast", "v2-tiny", "v3-tiny", "v3 dense"])
def test_one_image_is_learned_by_heart(name: str) -> None:
    model = small(name).train()
    side = model.input_spec.height
    canvas = torch.full((2, side, side, 3), 60, dtype=torch.uint8)
    canvas[0, 20:50, 10:40] = torch.tensor([220, 40, 40], dtype=torch.uint8)
    canvas[1, 55:90, 50:90] = torch.tensor([40, 40, 220], dtype=torch.uint8)
    boxes = torch.tensor([[10.0, 20.0, 40.0, 50.0], [50.0, 55.0, 90.0, 90.0]])
    truth = Truth(boxes, torch.tensor([0, 1]), torch.tensor([0, 1]))
    for layer in model.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    images, first = model.preprocess(canvas), None
    for _ in range(120):
        optimizer.zero_grad()
        loss = model.losses(images, truth)["total"]
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        first = first or float(loss.detach())
    with torch.inference_mode():  # in training mode: two images are all that the norms have seen
        fits = [plan_fit(side, side, model.input_spec)] * 2
        found = model.decode(model(images), fits, DetectOptions(min_score=0.3))
    assert float(loss.detach()) < 0.2 * (first or 0)
    for each, box, label in zip(found, boxes, (0, 1), strict=True):
        assert each.label_ids[0] == label
        assert (each.boxes[0] - box).abs().max() < 6


def test_another_canvas_shares_the_weights() -> None:
    model = small("v3-tiny").train()
    images = torch.rand(1, 3, 128, 128)
    model.losses(images, one([10.0, 12.0, 50.0, 44.0]))["total"].backward()
    assert all(p.grad is not None for p in model.parameters())
    large = model.network.resized(height=128, width=128).eval()
    whole = DarknetDetector.from_cfg(model.cfg_text, height=128, width=128)
    whole.load_state_dict(model.state_dict())
    with torch.inference_mode():
        for level, expected in zip(large(images), whole(images), strict=True):
            torch.testing.assert_close(level, expected)


def test_a_loss_that_heads_do_not_have_is_refused() -> None:
    model = small("v2-tiny")
    model.loss_kind = "dense"
    with pytest.raises(ModelError, match="no dense loss is known"):
        model.losses(torch.rand(1, 3, 96, 96), NOTHING)


def test_a_misspelt_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="one of paper, dense, got 'dens'"):
        build_yolo(("a",), version="v3", width=0.05, loss="dens")  # type: ignore[arg-type]
