from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead

from cvcore.detect.truth import Truth
from cvcore.propose.rpn import (
    RATIOS,
    SIZES,
    Rpn,
    anchor_shapes,
    grid_anchors,
    inside_image,
    propose_regions,
)
from cvcore.propose.rpn_loss import AnchorTargets, RpnLossOptions, rpn_loss, sample_anchors


def test_anchors_of_the_paper() -> None:
    shapes = torch.tensor(anchor_shapes(SIZES, RATIOS))
    assert shapes.shape == (9, 2)
    torch.testing.assert_close(shapes.prod(dim=1).sqrt(), torch.tensor(SIZES).repeat_interleave(3))
    torch.testing.assert_close(shapes[:, 1] / shapes[:, 0], torch.tensor(RATIOS).repeat(3))


def test_numbers_of_anchors_of_the_paper() -> None:
    anchors = grid_anchors(
        torch.tensor(anchor_shapes(SIZES, RATIOS)), height=600 // 16, width=1000 // 16, stride=16
    )
    assert len(anchors) == 37 * 62 * 9  # "roughly 20000"
    # The paper counts "about 6000" that do not cross the boundary; its shapes and stride leave 8,044.
    inside = int(inside_image(anchors, height=600, width=1000).sum())
    columns, rows = 16 * np.arange(62) + 8, 16 * np.arange(37) + 8
    expected = 0
    for size in SIZES:
        for ratio in RATIOS:
            half_width, half_height = size / ratio**0.5 / 2, size * ratio**0.5 / 2
            across = (columns >= half_width) & (columns <= 1000 - half_width)
            down = (rows >= half_height) & (rows <= 600 - half_height)
            expected += int(across.sum() * down.sum())
    assert inside == expected == 8044


def test_outputs_are_2k_scores_and_4k_offsets() -> None:
    rpn = Rpn(512, anchor_shapes(SIZES, RATIOS), stride=16)
    assert (rpn.scores.out_channels, rpn.offsets.out_channels) == (18, 36)
    assert rpn.slide.weight.shape == (512, 512, 3, 3)


def test_outputs_and_anchors_run_in_one_order() -> None:
    """A bias that tells the k shapes apart, and features that tell cells apart."""
    rpn = Rpn(1, anchor_shapes((10.0, 20.0), (1.0,)), stride=4, width=1)
    with torch.no_grad():
        rpn.slide.weight.zero_()[0, 0, 1, 1] = 1
        rpn.scores.weight.zero_()[:, 0] = torch.tensor([[1.0, 10.0, 100.0, 1000.0]]).T[:, :, None]
    features = torch.arange(1.0, 7.0).view(1, 1, 2, 3)
    scores, offsets = rpn(features)
    anchors = rpn.anchors(features)
    assert scores.shape == (1, 12, 2)
    assert offsets.shape == (1, 12, 4)
    assert scores[0, :4].tolist() == [[1, 10], [100, 1000], [2, 20], [200, 2000]]
    assert anchors[2].tolist() == [1.0, -3.0, 11.0, 7.0]  # Cell (0, 1), 10 x 10 about (6, 2).
    assert anchors[7].tolist() == [-8.0, -4.0, 12.0, 16.0]  # Cell (1, 0), 20 x 20 about (2, 6).


def test_anchors_are_exact_in_bfloat16() -> None:
    rpn = Rpn(1, anchor_shapes(SIZES, RATIOS), stride=16, width=1)
    features = torch.zeros(1, 1, 37, 62)
    expected = rpn.anchors(features)
    assert torch.equal(rpn.bfloat16().anchors(features.bfloat16()), expected)


@pytest.fixture(scope="module")
def pair() -> tuple[Rpn, Any]:
    """The same network, here and in torchvision, whose k logits are differences of the paper's 2k scores."""
    torch.manual_seed(0)
    shapes = anchor_shapes((16.0, 32.0), (0.5, 1.0, 2.0))
    ours = Rpn(8, shapes, stride=8, width=8)
    for layer in (ours.slide, ours.scores, ours.offsets):
        torch.nn.init.normal_(layer.weight, std=0.1)
    head = RPNHead(8, 6)
    with torch.no_grad():
        head.conv[0][0].load_state_dict(ours.slide.state_dict())
        head.bbox_pred.load_state_dict(ours.offsets.state_dict())
        for theirs, mine in zip(head.cls_logits.parameters(), ours.scores.parameters(), strict=True):
            theirs.copy_(mine[1::2] - mine[0::2])
    anchors = AnchorGenerator(((16, 32),), ((0.5, 1.0, 2.0),))
    counts = {"training": 100, "testing": 100}
    theirs = RegionProposalNetwork(anchors, head, 0.7, 0.3, 256, 0.5, counts, {**counts, "testing": 20}, 0.7)
    return ours, theirs.eval()


def test_scores_are_torchvisions_probabilities(pair: tuple[Rpn, Any]) -> None:
    ours, theirs = pair
    features = torch.randn(2, 8, 6, 7)
    scores, offsets = ours(features)
    logits, deltas = theirs.head([features])
    probability = logits[0].permute(0, 2, 3, 1).flatten(1).sigmoid()
    torch.testing.assert_close(scores.softmax(dim=2)[..., 1], probability)
    expected = deltas[0].unflatten(1, (6, 4)).permute(0, 3, 4, 1, 2).reshape(2, -1, 4)
    torch.testing.assert_close(offsets, expected)


def test_proposals_are_torchvisions(pair: tuple[Rpn, Any]) -> None:
    ours, theirs = pair
    features = torch.randn(2, 8, 6, 7)
    scores, offsets = ours(features)
    anchors = ours.anchors(features)
    theirs.min_size = 1.0
    boxes = theirs.box_coder.decode(offsets.reshape(-1, 4), [anchors, anchors]).view(2, -1, 4)
    margin = scores[..., 1] - scores[..., 0]
    expected, _ = theirs.filter_proposals(boxes, margin, [(48, 56)] * 2, [len(anchors)])
    found = propose_regions(scores, offsets, anchors, height=48, width=56, candidates=100, proposals=20)
    for image in range(2):
        torch.testing.assert_close(found.boxes[image][found.valid[image]], expected[image], atol=1e-3, rtol=0)


def test_loss_is_torchvisions_on_the_same_sample(pair: tuple[Rpn, Any]) -> None:
    """torchvision divides both terms by the sampled anchors; equation 1 the second by cells, times lambda."""
    ours, theirs = pair
    features = torch.randn(2, 8, 6, 7)
    scores, offsets = ours(features)
    anchors = ours.anchors(features)
    truth = Truth(torch.tensor([[5.0, 5, 25, 22], [20, 10, 50, 40]]), torch.zeros(2).long(), torch.arange(2))
    options = RpnLossOptions()
    torch.manual_seed(3)
    targets = sample_anchors(anchors, torch.ones(len(anchors)).bool(), truth.padded(2), options)
    objectness, box = rpn_loss(scores, offsets, targets, num_cells=42, options=options)

    labels, matched = theirs.assign_targets_to_anchors(
        [anchors, anchors], [{"boxes": truth.boxes[i : i + 1]} for i in range(2)]
    )
    assert all(bool((labels[i][targets.positive[i]] == 1).all()) for i in range(2))
    wanted = theirs.box_coder.encode(matched, [anchors, anchors])
    theirs.fg_bg_sampler = lambda _: (list(targets.positive.byte()), list(targets.negative.byte()))
    margin = (scores[..., 1] - scores[..., 0]).flatten()[:, None]
    expected = theirs.compute_loss(margin, offsets.reshape(-1, 4), labels, wanted)
    torch.testing.assert_close(objectness, expected[0])
    sampled = int((targets.positive | targets.negative).sum())
    torch.testing.assert_close(box, expected[1] * sampled * options.box_weight / (42 * 2))
    assert box > 0


def test_a_loss_by_hand() -> None:
    """One score right by 2, one wrong by 2; one offset off by 2 (linear), one by 1/18 (square)."""
    scores = torch.tensor([[[0.0, 2.0], [0.0, 2.0], [9.0, 9.0]]])
    offsets = torch.tensor([[[2.0, 1 / 18, 0.0, 0.0], [7.0, 7.0, 7.0, 7.0], [7.0, 7.0, 7.0, 7.0]]])
    targets = AnchorTargets(
        torch.tensor([[True, False, False]]), torch.tensor([[False, True, False]]), torch.zeros(1, 4)
    )
    objectness, box = rpn_loss(scores, offsets, targets, num_cells=5, options=RpnLossOptions())
    torch.testing.assert_close(objectness, (F.softplus(torch.tensor([-2.0, 2.0]))).mean())
    torch.testing.assert_close(box, torch.tensor(10 * ((2 - 1 / 18) + 0.5 * (1 / 18) ** 2 * 9) / 5))


def test_256_anchors_an_image_at_most_half_of_them_positive() -> None:
    anchors = grid_anchors(torch.tensor(anchor_shapes((16.0,), (1.0,))), height=40, width=40, stride=2)
    truth = Truth(torch.tensor([[20.0, 20.0, 36.0, 36.0]]), torch.zeros(1).long(), torch.ones(1).long())
    everywhere = torch.ones(len(anchors)).bool()
    targets = sample_anchors(anchors, everywhere, truth.padded(2), RpnLossOptions(positive_iou=0.01))
    assert targets.positive.sum(dim=1).tolist() == [0, 128]
    assert targets.negative.sum(dim=1).tolist() == [256, 128]


def test_what_is_not_finite_is_no_proposal_and_harms_no_other_image() -> None:
    anchors = grid_anchors(torch.tensor(anchor_shapes((8.0,), (1.0,))), height=4, width=4, stride=8)
    scores, offsets = torch.randn(2, 16, 2), torch.zeros(2, 16, 4)
    options: dict[str, Any] = {"height": 32, "width": 32, "candidates": 16, "proposals": 16}
    alone = propose_regions(scores[:1], offsets[:1], anchors, **options)
    scores[1], offsets[1] = torch.nan, torch.nan
    both = propose_regions(scores, offsets, anchors, **options)
    assert torch.equal(both.boxes[0], alone.boxes[0])
    assert not both.valid[1].any()
