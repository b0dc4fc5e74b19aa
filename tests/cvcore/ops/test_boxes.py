from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou as reference_iou

from cvcore.ops.boxes import cxcywh_to_xyxy, select_candidates, select_detections, xyxy_to_cxcywh
from cvcore.types import DetectOptions


def random_scene(seed: int, *, num_boxes: int = 60, num_classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(num_boxes, 2, generator=generator) * 50
    boxes = torch.cat([corner, corner + 5 + torch.rand(num_boxes, 2, generator=generator) * 40], dim=1)
    return boxes, torch.rand(num_boxes, num_classes, generator=generator)


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
