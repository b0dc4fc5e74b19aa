from __future__ import annotations

import cv2
import numpy as np
import torch

from cvcore.ops.boxes import paired_iou
from cvcore.segment.regions import CONTEXT, crop_mask, object_boxes, sample_regions


def random_mask(seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    mask = np.zeros((40, 60), np.uint8)
    for _ in range(6):
        y, x = rng.integers(0, (32, 50))
        mask[y : y + rng.integers(2, 9), x : x + rng.integers(2, 11)] = rng.choice([1, 2, 255])
    return torch.from_numpy(mask)


def test_objects_are_those_that_opencv_finds() -> None:
    for seed in range(20):
        mask = random_mask(seed)
        expected = []
        for value in (1, 2):
            _, _, stats, _ = cv2.connectedComponentsWithStats((mask.numpy() == value).astype(np.uint8))
            expected += [(x, y, x + w, y + h) for x, y, w, h, _ in stats[1:].tolist()]
        assert sorted(map(tuple, object_boxes(mask).int().tolist())) == sorted(expected)


def test_regions_are_the_whole_and_grown_boxes_that_overlap_an_object() -> None:
    torch.manual_seed(0)
    mask = random_mask(3)
    objects = object_boxes(mask)
    found = sample_regions(mask, 9)
    assert found.shape == (9, 4)
    assert found[0].tolist() == [0, 0, 60, 40]
    assert len({tuple(each) for each in found.tolist()}) > 4
    centres, halves = (found[1:, :2] + found[1:, 2:]) / 2, (found[1:, 2:] - found[1:, :2]) / 2 / CONTEXT
    before = torch.cat([centres - halves, centres + halves], dim=1)
    ious = torch.stack([paired_iou(before, box.expand_as(before)) for box in objects])
    assert ious.amax(dim=0).min() > 0.3  # 0.5 before corners were moved to whole pixels


def test_nothing_to_learn_from_is_the_whole() -> None:
    empty = torch.tensor([0, 255], dtype=torch.uint8).repeat(8, 4)
    assert sample_regions(empty, 3).tolist() == [[0, 0, 8, 8]] * 3


def test_crops_of_masks_are_nearest_pixels_and_unjudged_beyond() -> None:
    mask = random_mask(5)
    whole = torch.tensor([[0.0, 0, 60, 40]])
    square = torch.tensor([[4.0, 6, 12, 14]])
    assert torch.equal(crop_mask(mask, square, side=8)[0], mask[6:14, 4:12])
    resized = cv2.resize(mask.numpy(), (20, 20), interpolation=cv2.INTER_NEAREST_EXACT)
    assert np.array_equal(crop_mask(mask, whole, side=20)[0].numpy(), resized)
    outside = crop_mask(mask, torch.tensor([[-8.0, -8, 8, 8]]), side=16)[0]
    assert (outside[:8] == 255).all()
    assert (outside[:, :8] == 255).all()
    assert torch.equal(outside[8:, 8:], mask[:8, :8])
