from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import SSDMatcher
from torchvision.ops import box_iou

from cvcore.ops.boxes import paired_iou
from cvcore.ops.matching import UNMATCHED, match_references


def random_boxes(count: int, *, seed: int, smallest: float = 8, span: float = 60) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 200
    return torch.cat([corner, corner + smallest + torch.rand(count, 2, generator=generator) * span], dim=1)


def greedy(iou: Tensor, min_iou: float) -> list[int]:
    """The authors' loop: the best pair of all that are left, until each ground truth has a reference."""
    best = iou.max(dim=0)
    matched = [int(row) if value > min_iou else UNMATCHED for value, row in zip(*best, strict=True)]
    left = iou.clone()
    for _ in range(min(iou.shape)):
        row, reference = divmod(int(left.argmax()), iou.shape[1])
        if left[row, reference] <= 0:
            break
        matched[reference] = row
        left[row], left[:, reference] = 0, 0
    return matched


def test_iou_is_torchvisions() -> None:
    truth, references = random_boxes(7, seed=0), random_boxes(50, seed=1)
    assert torch.allclose(paired_iou(truth[:, None], references), box_iou(truth, references), atol=1e-6)
    nothing = torch.zeros(1, 1, 4)
    assert paired_iou(nothing[:, :, None], nothing[0]).tolist() == [[[0.0]]]


@pytest.mark.parametrize("counts", [(3,), (1, 12, 0, 5), (0, 0), (30, 2)])
@pytest.mark.parametrize("num_references", [4, 300])
def test_a_batch_is_matched_as_the_authors_loop_does_each_image(
    counts: tuple[int, ...], num_references: int
) -> None:
    references = random_boxes(num_references, seed=3)
    most = max(counts)
    truth, valid = torch.zeros(len(counts), most, 4), torch.zeros(len(counts), most, dtype=torch.bool)
    for image, count in enumerate(counts):
        truth[image, :count], valid[image, :count] = random_boxes(count, seed=10 + image), True
    found = match_references(truth, valid, references, min_iou=0.5)
    for image, count in enumerate(counts):
        own = truth[image, :count]
        expected = greedy(box_iou(own, references), 0.5) if count else [UNMATCHED] * num_references
        assert found[image].tolist() == expected


def test_same_as_torchvision_where_no_two_want_one_reference() -> None:
    references = random_boxes(500, seed=5)
    matcher = SSDMatcher(0.5)
    agreed = 0
    for seed in range(10):
        truth = random_boxes(6, seed=20 + seed)
        iou = box_iou(truth, references)
        if len(set(iou.argmax(dim=1).tolist())) < len(truth):
            continue
        expected = matcher(iou).clamp(min=UNMATCHED)
        found = match_references(truth[None], torch.ones(1, 6, dtype=torch.bool), references, min_iou=0.5)
        assert torch.equal(found[0], expected)
        agreed += 1
    assert agreed >= 5


def test_two_that_want_one_reference_both_get_one() -> None:
    references = torch.tensor([[0.0, 0, 10, 10], [40.0, 40, 50, 50], [0.0, 0, 30, 30]])
    truth = torch.tensor([[[0.0, 0, 10, 8], [0.0, 0, 10, 9]]])
    found = match_references(truth, torch.ones(1, 2, dtype=torch.bool), references, min_iou=0.5)
    assert found.tolist() == [[1, UNMATCHED, 0]]


def test_boxes_without_area_or_overlap_get_none() -> None:
    references = torch.tensor([[0.0, 0, 10, 10], [20.0, 0, 30, 10]])
    truth = torch.tensor([[[5.0, 5, 5, 9], [100.0, 100, 110, 110]]])
    found = match_references(truth, torch.ones(1, 2, dtype=torch.bool), references, min_iou=0.5)
    assert found.tolist() == [[UNMATCHED, UNMATCHED]]
