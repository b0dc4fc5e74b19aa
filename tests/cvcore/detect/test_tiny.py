from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from cvcore.darknet.detector import DarknetDetector
from cvcore.darknet.detectors import V3_STRIDES as STRIDES
from cvcore.darknet.layers import Yolo
from cvcore.detect.truth import Truth
from cvcore.detect.yolo import build_tiny
from cvcore.detect.yolo_loss import DENSE, assign
from cvcore.image.fit import plan_fit
from cvcore.ops.anchors import encode_boxes
from cvcore.scenes import PART_NAMES
from cvcore.types import DetectOptions


@pytest.fixture(scope="module")
def model() -> DarknetDetector:
    torch.manual_seed(0)
    return build_tiny().eval()


def test_size_and_defaults(model: DarknetDetector) -> None:
    assert sum(p.numel() for p in model.parameters()) < 1_500_000
    assert model.labels == PART_NAMES
    assert (model.input_spec.height, model.input_spec.width) == (320, 320)


def test_outputs_are_one_map_a_stride(model: DarknetDetector) -> None:
    raw = model(torch.rand(2, 3, 320, 320))
    assert [tuple(level.shape) for level in raw] == [(2, 33, 320 // s, 320 // s) for s in STRIDES]


def test_config_is_json_and_rebuilds_the_model(model: DarknetDetector) -> None:
    other = build_tiny(("a", "b"), width=4, input_size=96, anchors=[[9, 9], [20, 30], [60, 60]], loss="paper")
    for one in (model, other):
        again = build_tiny(one.labels, **json.loads(json.dumps(one.config)))
        again.load_state_dict(one.state_dict())
        again.eval()
        one.eval()
        images = torch.rand(1, 3, one.input_spec.height, one.input_spec.width)
        assert all(torch.equal(a, b) for a, b in zip(one(images), again(images), strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 7}, "even number"),
        ({"input_size": 300}, "multiple of 32"),
        ({"anchors": [[1, 1]]}, "as many for each of 3 scales, got 1"),
        ({"version": "v4"}, "version must be one of"),
    ],
)
def test_refuses_impossible_configurations(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_tiny(**change)  # type: ignore[arg-type]


def encoded(model: DarknetDetector, truth: Truth, batch: int) -> tuple[Tensor, ...]:
    """Raw outputs that answer exactly for `truth`, as the loss assigns it."""
    heads = [head for head in model.network.cfg.heads if isinstance(head, Yolo)]
    anchors = [torch.tensor(head.anchors) for head in heads]
    side, num_classes = model.input_spec.height, len(model.labels)
    grids = [(side // s, side // s) for s in STRIDES]
    raw = []
    for scale, stride, grid, chosen in zip(
        anchors, STRIDES, grids, assign(truth, anchors, STRIDES, grids, DENSE), strict=True
    ):
        level = torch.full((batch, len(scale), *grid, 5 + num_classes), -20.0)
        cells = torch.stack([chosen.column, chosen.row], dim=1)
        values = torch.full((len(cells), 5 + num_classes), -20.0)
        values[:, :4] = encode_boxes(
            truth.boxes[chosen.truth], cells, scale[chosen.anchor], stride=stride, scale_xy=2.0
        )
        values[:, 4] = 20.0
        values[torch.arange(len(cells)), 5 + truth.label_ids[chosen.truth]] = 20.0
        level[truth.image_index[chosen.truth], chosen.anchor, chosen.row, chosen.column] = values
        raw.append(level.permute(0, 1, 4, 2, 3).flatten(1, 2))
    return tuple(raw)


def test_decoding_targets_gives_the_ground_truth_back(model: DarknetDetector) -> None:
    boxes = torch.tensor([[12.0, 30.0, 34.0, 55.0], [100.0, 100.0, 190.0, 160.0], [250.0, 5.0, 275.0, 28.0]])
    truth = Truth(boxes, torch.tensor([0, 4, 2]), torch.tensor([0, 0, 1]))
    fit = plan_fit(640, 640, model.input_spec)
    first, second = model.postprocess(encoded(model, truth, 2), [fit, fit], DetectOptions())
    order = first.boxes[:, 0].argsort()
    assert torch.allclose(first.boxes[order], boxes[:2] * 2, atol=0.1)
    assert first.label_ids[order].tolist() == [0, 4]
    assert torch.allclose(second.boxes, boxes[2:] * 2, atol=0.1)
    assert second.label_ids.tolist() == [2]


def test_a_batch_gives_what_single_images_give(model: DarknetDetector) -> None:
    generator = torch.Generator().manual_seed(1)
    canvases = torch.randint(0, 256, (3, 320, 320, 3), dtype=torch.uint8, generator=generator)
    with torch.inference_mode():
        batched = model(model.preprocess(canvases))
        for k in range(3):
            for level, alone in zip(batched, model(model.preprocess(canvases[k : k + 1])), strict=True):
                assert torch.allclose(level[k], alone[0], atol=1e-4)


def test_learns_one_image_by_heart() -> None:
    torch.manual_seed(0)
    model = build_tiny(("a", "b"), width=8, input_size=96).train()
    canvas = torch.full((1, 96, 96, 3), 60, dtype=torch.uint8)
    canvas[:, 20:50, 10:40] = torch.tensor([220, 40, 40], dtype=torch.uint8)
    canvas[:, 55:85, 50:80] = torch.tensor([40, 40, 220], dtype=torch.uint8)
    boxes = torch.tensor([[10.0, 20.0, 40.0, 50.0], [50.0, 55.0, 80.0, 85.0]])
    truth = Truth(boxes, torch.tensor([0, 1]), torch.tensor([0, 0]))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    images, losses = model.preprocess(canvas), []
    for _ in range(60):
        optimizer.zero_grad()
        loss = model.losses(images, truth)["total"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    model.train()  # batch statistics: one image is all it has seen
    with torch.inference_mode():
        (found,) = model.decode(model(images), [plan_fit(96, 96, model.input_spec)], DetectOptions())
    order = found.boxes[:, 0].argsort()
    assert found.label_ids[order].tolist() == [0, 1]
    assert torch.allclose(found.boxes[order], boxes, atol=3.0)
