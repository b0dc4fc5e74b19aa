from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cvcore.detect.truth import Truth
from cvcore.detect.yolo_loss import YoloLossOptions, assign, yolo_loss
from cvcore.ops.anchors import encode_boxes

ANCHORS = (torch.tensor([[16.0, 16.0], [30.0, 18.0]]), torch.tensor([[40.0, 44.0], [80.0, 70.0]]))
STRIDES = (8, 16)
GRIDS = ((16, 16), (8, 8))
NUM_CLASSES = 3
SCALE_XY = 2.0
OPTIONS = YoloLossOptions()


def make_truth() -> Truth:
    boxes = [
        [10.0, 12.0, 27.0, 26.0],
        [60.0, 30.0, 92.0, 47.0],
        [50.0, 60.0, 95.0, 100.0],
        [3.0, 70.0, 20.0, 88.0],
    ]
    return Truth(torch.tensor(boxes), torch.tensor([0, 2, 1, 2]), torch.tensor([0, 0, 1, 1]))


def make_raw(seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 2 * (5 + NUM_CLASSES), *grid, generator=generator) for grid in GRIDS]


def total(raw: list[Tensor], truth: Truth, options: YoloLossOptions = OPTIONS) -> Tensor:
    return yolo_loss(raw, truth, ANCHORS, STRIDES, scale_xy=SCALE_XY, options=options)["total"]


def perfect_raw(truth: Truth) -> list[Tensor]:
    """Raw outputs that decode to exactly the ground truth wherever it is assigned."""
    raw = []
    for anchors, stride, grid, chosen in zip(
        ANCHORS, STRIDES, GRIDS, assign(truth, ANCHORS, STRIDES, GRIDS, OPTIONS), strict=True
    ):
        level = torch.full((2, 2, 5 + NUM_CLASSES, *grid), -20.0)
        level[:, :, :4] = 0.0
        cells = torch.stack([chosen.column, chosen.row], dim=1)
        offsets = encode_boxes(
            truth.boxes[chosen.truth], cells, anchors[chosen.anchor], stride=stride, scale_xy=SCALE_XY
        )
        for k in range(len(cells)):
            at = level[
                truth.image_index[chosen.truth[k]], chosen.anchor[k], :, chosen.row[k], chosen.column[k]
            ]
            at[:4], at[4] = offsets[k], 20.0
            at[5 + truth.label_ids[chosen.truth[k]]] = 20.0
        raw.append(level.flatten(1, 2))
    return raw


def test_perfect_predictions_cost_nothing() -> None:
    loss = yolo_loss(
        perfect_raw(make_truth()), make_truth(), ANCHORS, STRIDES, scale_xy=SCALE_XY, options=OPTIONS
    )
    assert float(loss["box"]) < 1e-3
    assert float(loss["classes"]) < 1e-6
    assert float(loss["objectness"]) < 1e-3


def test_every_ground_truth_is_assigned_within_reach_of_its_centre() -> None:
    truth = make_truth()
    assignments = assign(truth, ANCHORS, STRIDES, GRIDS, OPTIONS)
    assert {int(k) for chosen in assignments for k in chosen.truth} == {0, 1, 2, 3}
    centers = (truth.boxes[:, :2] + truth.boxes[:, 2:]) / 2
    for chosen, stride in zip(assignments, STRIDES, strict=True):
        cells = torch.stack([chosen.column, chosen.row], dim=1)
        beyond = centers[chosen.truth] / stride - cells
        assert ((beyond >= -0.5) & (beyond <= 1.5)).all()


def test_shapes_unlike_every_anchor_go_to_the_nearest() -> None:
    truth = Truth(torch.tensor([[1.0, 60.0, 127.0, 62.0]]), torch.tensor([0]), torch.tensor([0]))
    assert sum(len(chosen.truth) for chosen in assign(truth, ANCHORS, STRIDES, GRIDS, OPTIONS)) > 0


def test_centres_on_the_canvas_edge_stay_inside_the_grid() -> None:
    truth = Truth(torch.tensor([[112.0, 112.0, 144.0, 144.0]]), torch.tensor([0]), torch.tensor([0]))
    for chosen, (rows, columns) in zip(
        assign(truth, ANCHORS, STRIDES, GRIDS, YoloLossOptions(match_iou=0.2)), GRIDS, strict=True
    ):
        assert (chosen.row < rows).all()
        assert (chosen.column < columns).all()


def test_order_of_ground_truth_does_not_matter() -> None:
    truth, raw = make_truth(), make_raw()
    order = torch.tensor([3, 1, 0, 2])
    shuffled = Truth(truth.boxes[order], truth.label_ids[order], truth.image_index[order])
    assert torch.allclose(total(raw, truth), total(raw, shuffled), rtol=1e-6)


def test_order_does_not_matter_where_two_share_a_cell() -> None:
    boxes = torch.tensor([[10.0, 10.0, 26.0, 26.0], [11.0, 10.0, 27.0, 27.0]])
    raw = make_raw(4)
    first = Truth(boxes, torch.tensor([0, 1]), torch.tensor([0, 0]))
    second = Truth(boxes.flip(0), torch.tensor([1, 0]), torch.tensor([0, 0]))
    assert torch.allclose(total(raw, first), total(raw, second), rtol=1e-6)


def test_images_of_a_batch_do_not_mix() -> None:
    """Swapping two images together with their ground truth changes nothing."""
    truth, raw = make_truth(), make_raw()
    swapped = Truth(truth.boxes, truth.label_ids, 1 - truth.image_index)
    assert torch.allclose(total(raw, truth), total([level.flip(0) for level in raw], swapped), rtol=1e-6)


def test_a_batch_without_objects_teaches_background_alone() -> None:
    nothing = Truth(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    raw = [level.requires_grad_() for level in make_raw()]
    loss = yolo_loss(raw, nothing, ANCHORS, STRIDES, scale_xy=SCALE_XY, options=OPTIONS)
    loss["total"].backward()
    assert float(loss["box"].detach()) == 0
    assert float(loss["classes"].detach()) == 0
    gradient = raw[0].grad
    assert gradient is not None
    by_field = gradient.view(2, 2, 5 + NUM_CLASSES, *GRIDS[0])
    assert (by_field[:, :, 4] > 0).all()
    assert (by_field[:, :, :4] == 0).all()


def test_gradients_flow_to_every_field_of_the_positives() -> None:
    truth = make_truth()
    raw = [level.requires_grad_() for level in make_raw()]
    total(raw, truth).backward()
    for level, chosen, grid in zip(raw, assign(truth, ANCHORS, STRIDES, GRIDS, OPTIONS), GRIDS, strict=True):
        assert level.grad is not None
        fields = level.grad.view(2, 2, 5 + NUM_CLASSES, *grid)
        image = truth.image_index[chosen.truth]
        assert torch.isfinite(fields).all()
        assert (fields[image, chosen.anchor, :, chosen.row, chosen.column] != 0).all()


def test_predictions_that_overlap_but_do_not_answer_are_ignored() -> None:
    truth = Truth(torch.tensor([[10.0, 10.0, 26.0, 26.0]]), torch.tensor([0]), torch.tensor([0]))
    raw = [torch.zeros(1, 2 * (5 + NUM_CLASSES), *grid) for grid in GRIDS]
    lenient = total(raw, truth, YoloLossOptions(ignore_iou=0.3))
    strict = total(raw, truth, YoloLossOptions(ignore_iou=0.99))
    assert lenient < strict


def test_truth_refuses_shapes_that_disagree() -> None:
    with pytest.raises(ValueError, match="disagrees in shape"):
        Truth(torch.zeros(2, 4), torch.zeros(1, dtype=torch.int64), torch.zeros(2, dtype=torch.int64))
