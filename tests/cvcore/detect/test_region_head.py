from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import fastrcnn_loss

from cvcore.detect.region_head import CODER, Pool, RegionHead, RegionOutputs, decode_regions
from cvcore.detect.region_loss import RegionLossOptions, RegionTargets, region_loss, sample_regions
from cvcore.detect.truth import Truth
from cvcore.image.fit import Fit
from cvcore.ops.padding import pad_boxes
from cvcore.types import DetectOptions


def head(pool: Pool = "max", *, channels: int = 1, stride: int = 4) -> RegionHead:
    torch.manual_seed(0)
    return RegionHead(channels, 3, stride=stride, width=8, pool=pool, dropout=0.5).eval()


def test_layers_of_the_paper() -> None:
    with torch.device("meta"):
        paper = RegionHead(512, 20, stride=16, width=4096, pool="max", dropout=0.5)
    shapes = {name: tuple(p.shape) for name, p in paper.named_parameters() if name.endswith("weight")}
    assert shapes == {
        "fc6.weight": (4096, 512 * 7 * 7),
        "fc7.weight": (4096, 4096),
        "scores.weight": (21, 4096),
        "offsets.weight": (80, 4096),
    }


@pytest.mark.parametrize("pool", ["max", "align"])
def test_regions_are_pooled_from_where_they_lie(pool: Pool) -> None:
    """7 x 7 cells of one image, each a region of its own bin: pooling gives the very cells."""
    one = head(pool)
    features = torch.rand(2, 1, 20, 20)
    seen: list[Tensor] = []
    one.fc6.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    box = torch.tensor([[3.0, 5.0, 9.0, 11.0]]) * 4  # roi_pool counts its last cell in
    one(features, box if pool == "max" else box + torch.tensor([0.0, 0.0, 4.0, 4.0]), torch.tensor([1]))
    expected = features[1, 0, 5:12, 3:10]
    if pool == "align":  # two samples a bin, half a cell apart: a mean with the neighbours
        assert (seen[0].view(7, 7) - expected).abs().max() < 0.5
        constant = one.fc6.weight.new_ones(2, 1, 20, 20)
        one(constant, box, torch.tensor([1]))
        torch.testing.assert_close(seen[1], torch.ones(1, 49))
    else:
        torch.testing.assert_close(seen[0].view(7, 7), expected)


@pytest.mark.parametrize("pool", ["max", "align"])
def test_regions_stay_where_they_are_in_bfloat16(pool: Pool) -> None:
    """Far from the origin bfloat16 tells no pixels apart; features that it holds are pooled exactly."""
    one = head(pool, stride=1)
    features = torch.zeros(1, 1, 8, 900)
    features[..., 813:] = 1.0
    seen: list[Tensor] = []
    one.fc6.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].float()))
    boxes = torch.tensor([[803.0, 0.0, 823.0, 7.0]])
    one(features, boxes, torch.tensor([0]))
    one.bfloat16()(features.bfloat16(), boxes, torch.tensor([0]))
    torch.testing.assert_close(seen[1], seen[0], atol=0.005, rtol=0)


def test_padding_changes_nothing() -> None:
    one = head()
    features = torch.rand(2, 1, 20, 20)
    boxes = [torch.tensor([[3.0, 5.0, 39.0, 41.0], [0.0, 0.0, 30.0, 50.0]]), torch.tensor([[9.0, 9, 70, 60]])]
    raw = one.padded(features, pad_boxes(boxes), torch.tensor([True, True]))
    assert raw.logits.shape == (2, 2, 4)
    for image, own in enumerate(boxes):
        logits, offsets = one(features, own, torch.full((len(own),), image))
        torch.testing.assert_close(raw.logits[image, : len(own)], logits)
        torch.testing.assert_close(raw.offsets[image, : len(own)], offsets)
    assert not raw.valid[1, 1]


def test_loss_is_torchvisions_on_the_same_regions() -> None:
    """torchvision has offsets of the background too, which it never reads, and turns linear at 1/9."""
    torch.manual_seed(0)
    logits, offsets = torch.randn(12, 4), torch.randn(12, 3, 4)
    classes = torch.tensor([0, 1, 2, 3] * 3)
    corner = torch.rand(12, 2) * 50
    boxes = torch.cat([corner, corner + 20], dim=1)
    targets = RegionTargets(
        boxes, torch.zeros(12).long(), classes, boxes + torch.rand(12, 4) * 5, torch.zeros(12).long()
    )
    with_background = torch.cat([torch.full((12, 1, 4), 99.0), offsets], dim=1).flatten(1)
    expected = fastrcnn_loss(
        logits, with_background, [classes], [CODER.encode(targets.wanted, targets.boxes)]
    )
    found = region_loss(logits, offsets, targets, coder=CODER, options=RegionLossOptions(smooth=1 / 9))
    torch.testing.assert_close(found, expected)


def test_a_loss_by_hand() -> None:
    """A foreground region whose box is off by 1 in dx alone (10 after weighting), and a background one."""
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 5.0, 5.0]])
    wanted = torch.tensor([[10.0, 0.0, 20.0, 10.0], [0.0, 0.0, 1.0, 1.0]])
    targets = RegionTargets(boxes, torch.zeros(2).long(), torch.tensor([2, 0]), wanted, torch.zeros(2).long())
    logits, offsets = torch.zeros(2, 3), torch.zeros(2, 2, 4)
    offsets[0, 1, 0] = 9.5  # 0.5 from 10: the square part
    classes, box = region_loss(logits, offsets, targets, coder=CODER, options=RegionLossOptions())
    torch.testing.assert_close(classes, torch.tensor(3.0).log())
    torch.testing.assert_close(box, torch.tensor(0.5 * 0.5**2 / 2))


def test_regions_are_sampled_by_overlap() -> None:
    """IoU 1 (the ground truth itself), 0.6, 0.3 and 0.05 with the one box of image 0; none in image 1."""
    box = torch.tensor([[0.0, 0.0, 100.0, 100.0]])
    own = torch.tensor([[0.0, 0, 100, 60], [0.0, 0, 100, 30], [0.0, 0, 100, 5]])
    proposals = pad_boxes([own, own[:2]])
    truth = Truth(box, torch.tensor([4]), torch.tensor([0])).padded(2)
    found = sample_regions(proposals, truth, RegionLossOptions())
    assert found.image_index.tolist() == [0, 0, 0, 1, 1]
    assert sorted(found.classes.tolist()) == [0, 0, 0, 5, 5]
    foreground = found.boxes[found.classes == 5]
    assert sorted(foreground[:, 3].tolist()) == [60, 100]
    assert found.boxes[(found.classes == 0) & (found.image_index == 0)][:, 3].tolist() == [30]
    low = sample_regions(proposals, truth, RegionLossOptions(background_from=0.0))
    assert len(low.classes) == 6


def test_a_quarter_of_the_regions_at_most_is_foreground() -> None:
    box = torch.tensor([[0.0, 0.0, 100.0, 100.0]])
    near, far = box.repeat(100, 1), torch.tensor([[0.0, 0.0, 100.0, 20.0]]).repeat(100, 1)
    truth = Truth(box, torch.tensor([0]), torch.tensor([0])).padded(1)
    found = sample_regions(pad_boxes([torch.cat([near, far])]), truth, RegionLossOptions())
    assert (len(found.classes), int((found.classes == 1).sum())) == (64, 16)


def test_decoding_moves_each_class_box_and_clips_it() -> None:
    boxes = torch.tensor([[[10.0, 10.0, 30.0, 30.0], [0.0, 0.0, 0.0, 0.0]]])
    logits = torch.tensor([[[0.0, 3.0, 5.0], [0.0, 9.0, 9.0]]])
    offsets = torch.zeros(1, 2, 2, 4)
    offsets[0, 0, 1, 0] = 5.0  # half a width to the right: class 1 leaves the content
    raw = RegionOutputs(boxes, torch.tensor([[True, False]]), logits, offsets)
    fit = Fit(35, 35, 35, 35, top=0, left=7)
    (found,) = decode_regions(raw, [fit], DetectOptions(min_score=0.01))
    assert found.label_ids.tolist() == [1, 0]
    torch.testing.assert_close(found.boxes, torch.tensor([[27.0, 10, 42, 30], [17.0, 10, 37, 30]]))
    torch.testing.assert_close(found.scores, logits[0, 0].softmax(dim=0)[[2, 1]])
