from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou as reference_iou

from cvcore.ops.boxes import (
    cxcywh_to_xyxy,
    select_batch,
    select_candidates,
    select_together,
    xyxy_to_cxcywh,
)
from cvcore.types import Detections, DetectOptions


def random_scene(seed: int, *, num_boxes: int = 60, num_classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(num_boxes, 2, generator=generator) * 50
    boxes = torch.cat([corner, corner + 5 + torch.rand(num_boxes, 2, generator=generator) * 40], dim=1)
    return boxes, torch.rand(num_boxes, num_classes, generator=generator)


def select_detections(boxes: Tensor, class_scores: Tensor, options: DetectOptions) -> Detections:
    """Of one image."""
    (found,) = select_batch(boxes[None], class_scores[None], options)
    return found


def greedy(boxes: Tensor, class_scores: Tensor, options: DetectOptions) -> set[tuple[int, int]]:
    """(box, class) pairs kept by the textbook's loop."""
    kept = []
    for label in range(class_scores.shape[1]):
        order = torch.argsort(class_scores[:, label], descending=True).tolist()
        chosen: list[int] = []
        for i in order:
            if class_scores[i, label] < options.min_score:
                continue
            overlaps = reference_iou(boxes[i : i + 1], boxes[chosen]) if chosen else torch.zeros(1, 0)
            if not (overlaps > options.nms_iou).any():
                chosen.append(i)
        kept += [(class_scores[i, label].item(), i, label) for i in chosen]
    return {(i, label) for _, i, label in sorted(kept, reverse=True)[: options.max_detections]}


def test_same_as_the_textbooks_loop() -> None:
    for seed in range(10):
        boxes, scores = random_scene(seed)
        options = DetectOptions(min_score=0.3, nms_iou=0.4, max_detections=25)
        found = select_detections(boxes, scores, options)
        expected = greedy(boxes, scores, options)
        got = {
            (int((boxes == box).all(dim=1).nonzero()[0]), int(label))
            for box, label in zip(found.boxes, found.label_ids, strict=True)
        }
        assert got == expected
        assert (found.scores.diff() <= 0).all()


def test_the_order_of_candidates_does_not_matter() -> None:
    boxes, scores = random_scene(0)
    options = DetectOptions(min_score=0.2)
    shuffle = torch.randperm(len(boxes), generator=torch.Generator().manual_seed(1))
    first, second = (
        select_detections(boxes, scores, options),
        select_detections(boxes[shuffle], scores[shuffle], options),
    )
    assert torch.equal(first.boxes, second.boxes)
    assert torch.equal(first.label_ids, second.label_ids)


def test_one_class_a_box_is_the_same_selection() -> None:
    boxes, scores = random_scene(2, num_classes=4)
    options = DetectOptions(min_score=0.1, nms_iou=0.5)
    pairs = [(b, c) for b in range(len(boxes)) for c in range(4)]
    index, labels = torch.tensor(pairs).T
    found = select_candidates(boxes[index], scores[index, labels], labels, options)
    expected = select_detections(boxes, scores, options)
    assert torch.equal(found.boxes, expected.boxes)
    assert torch.equal(found.scores, expected.scores)
    assert torch.equal(found.label_ids, expected.label_ids)


def test_candidates_that_are_not_finite_are_dropped() -> None:
    boxes, scores = random_scene(3, num_boxes=4, num_classes=1)
    boxes[0, 2], scores[1, 0], scores[2, 0] = float("inf"), float("nan"), float("inf")
    found = select_detections(boxes, scores, DetectOptions(min_score=0))
    assert torch.equal(found.boxes, boxes[3:])


def test_no_boxes() -> None:
    found = select_detections(torch.zeros(0, 4), torch.zeros(0, 5), DetectOptions())
    assert len(found) == 0
    assert found.label_ids.dtype == torch.int64


def test_conversions_are_inverses() -> None:
    boxes, _ = random_scene(4)
    torch.testing.assert_close(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes)
    assert np.allclose(xyxy_to_cxcywh(torch.tensor([[0.0, 2.0, 4.0, 8.0]])), [[2, 5, 4, 6]])


def random_batch(num_images: int, *, num_boxes: int = 80, num_classes: int = 4) -> tuple[Tensor, Tensor]:
    scenes = [random_scene(100 + k, num_boxes=num_boxes, num_classes=num_classes) for k in range(num_images)]
    boxes, scores = (torch.stack(part) for part in zip(*scenes, strict=True))
    scores[1] = 0  # One image in which nothing is found.
    return boxes, scores


def assert_equal(found: Detections, expected: Detections) -> None:
    assert torch.equal(found.boxes, expected.boxes)
    assert torch.equal(found.scores, expected.scores)
    assert torch.equal(found.label_ids, expected.label_ids)


@pytest.mark.parametrize("min_score", [0.05, 0.6])
@pytest.mark.parametrize("num_boxes", [80, 400])
def test_a_batch_is_selected_as_its_images_are(min_score: float, num_boxes: int) -> None:
    boxes, scores = random_batch(3, num_boxes=num_boxes)
    options = DetectOptions(min_score=min_score, max_detections=30)
    expected = [select_detections(b, s, options) for b, s in zip(boxes, scores, strict=True)]
    assert [len(one) for one in expected] == [30, 0, 30]
    for found, one in zip(select_batch(boxes, scores, options), expected, strict=True):
        assert_equal(found, one)


@pytest.mark.parametrize("num_boxes", [40, 400])
def test_suppressing_a_batch_at_once_is_suppressing_its_images(num_boxes: int) -> None:
    boxes, scores = random_batch(3, num_boxes=num_boxes)
    boxes[0, 0, 2], scores[2, 1, 0] = float("inf"), float("nan")
    options = DetectOptions(min_score=0.2, max_detections=30)
    image, index, label_ids = torch.nonzero(scores >= options.min_score, as_tuple=True)
    together = select_together(
        boxes[image, index], scores[image, index, label_ids], label_ids, image, options, num_images=3
    )
    for found, one in zip(together, select_batch(boxes, scores, options), strict=True):
        assert_equal(found, one)


def test_only_the_best_of_each_class_enter_suppression() -> None:
    boxes, scores = random_batch(3)
    options = DetectOptions(min_score=0.1, nms_iou=1.0, max_detections=1000)
    for k, found in enumerate(select_batch(boxes, scores, options, candidates_per_class=7)):
        for label in range(4):
            own = scores[k, :, label]
            expected = own[own >= 0.1].sort(descending=True).values[:7]
            assert torch.equal(found.scores[found.label_ids == label], expected)
    everything = select_batch(boxes, scores, options)
    for found, one in zip(
        select_batch(boxes, scores, options, candidates_per_class=80), everything, strict=True
    ):
        assert_equal(found, one)


def test_a_batch_of_no_images_or_no_boxes() -> None:
    assert select_batch(torch.zeros(0, 5, 4), torch.zeros(0, 5, 2), DetectOptions()) == []
    found = select_batch(torch.zeros(2, 0, 4), torch.zeros(2, 0, 3), DetectOptions())
    assert [len(one) for one in found] == [0, 0]
