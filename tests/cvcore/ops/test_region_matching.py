from __future__ import annotations

import torch
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from cvcore.detect.truth import Truth
from cvcore.ops.region_matching import assign_anchors, overlaps
from cvcore.ops.sampling import sample_rows


def random_boxes(count: int, *, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 70
    return torch.cat([corner, corner + 5 + torch.rand(count, 2, generator=generator) * 40], dim=1)


def two_images() -> Truth:
    """Three boxes in image 2, two in image 0, none in image 1; in mixed order."""
    return Truth(random_boxes(5, seed=1), torch.arange(5), torch.tensor([2, 0, 2, 2, 0]))


def test_overlaps_are_torchvisions_in_each_image() -> None:
    truth = two_images()
    boxes = torch.stack([random_boxes(20, seed=2 + i) for i in range(3)])
    iou = overlaps(boxes, truth.padded(3))
    assert iou.shape == (3, 20, 3)
    for image in range(3):
        own = truth.boxes[truth.image_index == image]
        torch.testing.assert_close(iou[image, :, : len(own)], box_iou(boxes[image], own))
        assert (iou[image, :, len(own) :] == -1).all()


def test_anchors_are_assigned_as_torchvision_assigns_them() -> None:
    truth = two_images()
    anchors = random_boxes(300, seed=9)
    inside = torch.ones(300, dtype=torch.bool)
    kinds, matched = assign_anchors(
        overlaps(anchors[None], truth.padded(3)), inside, positive_iou=0.7, negative_iou=0.3
    )
    matcher = Matcher(0.7, 0.3, allow_low_quality_matches=True)
    for image in (0, 2):
        own = truth.boxes[truth.image_index == image]
        expected = matcher(box_iou(own, anchors))
        assert torch.equal(kinds[image], torch.where(expected >= 0, 1, expected.clamp(min=-2) + 1).clamp(-1))
        assert torch.equal(matched[image][expected >= 0], expected[expected >= 0])
        assert (kinds[image] == 1).any()
    assert (kinds[1] == 0).all()


def test_anchors_outside_take_no_part() -> None:
    truth = Truth(torch.tensor([[0.0, 0.0, 10.0, 10.0]]), torch.zeros(1).long(), torch.zeros(1).long())
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 8.0], [40.0, 40.0, 50.0, 50.0]])
    overlap = overlaps(anchors[None], truth.padded(1))
    all_in = assign_anchors(overlap, torch.tensor([True] * 3), positive_iou=0.9, negative_iou=0.3)[0]
    assert all_in.tolist() == [[1, -1, 0]]
    kinds = assign_anchors(overlap, torch.tensor([False, True, False]), positive_iou=0.9, negative_iou=0.3)
    assert kinds[0].tolist() == [[-1, 1, -1]]  # The second is now the best there is.


def test_samples_are_eligible_and_as_many_as_allowed() -> None:
    torch.manual_seed(0)
    eligible = torch.rand(4, 50) < torch.tensor([0.0, 0.1, 0.5, 1.0])[:, None]
    chosen = sample_rows(eligible, torch.tensor([5, 50, 7, 0]))
    assert not (chosen & ~eligible).any()
    assert chosen.sum(dim=1).tolist() == [0, int(eligible[1].sum()), 7, 0]


def test_samples_are_uniform() -> None:
    torch.manual_seed(0)
    eligible = torch.tensor([[True, False, True, True, True]]).expand(20_000, -1)
    shares = sample_rows(eligible, 2).float().mean(dim=0)
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.0, 0.5, 0.5, 0.5]), atol=0.02, rtol=0)
