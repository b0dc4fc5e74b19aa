from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models.detection import ssd300_vgg16

from cvcore.detect.ssd import CODER, build_ssd
from cvcore.detect.ssd_loss import SsdLoss, SsdLossOptions, hard_negatives, ssd_loss
from cvcore.detect.truth import Truth
from cvcore.ops.matching import match_references

OPTIONS = SsdLossOptions()
REFERENCES = torch.tensor([[0.0, 0, 20, 20], [20.0, 0, 40, 20], [0.0, 20, 20, 40], [20.0, 20, 40, 40]])


def loss_of(offsets: Tensor, logits: Tensor, truth: Truth, options: SsdLossOptions = OPTIONS) -> SsdLoss:
    return ssd_loss(offsets, logits, truth, REFERENCES, coder=CODER, options=options)


def nothing() -> Truth:
    return Truth(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))


def one_box(box: list[float], *, label: int = 0) -> Truth:
    return Truth(torch.tensor([box]), torch.tensor([label]), torch.tensor([0]))


def test_a_case_by_hand() -> None:
    # The truth lies 2 px right of the first reference: dx = 10 * 2 / 20 = 1, the others 0.
    truth = one_box([2.0, 0, 22, 20], label=1)
    logits = torch.zeros(1, 4, 3)
    logits[0, 3, 0] = math.log(8)  # This background is known: 8 of 10.
    loss = loss_of(torch.zeros(1, 4, 4), logits, truth, SsdLossOptions(negatives_per_positive=2, alpha=0.5))
    assert loss.box.item() == pytest.approx(0.5)
    assert loss.classes.item() == pytest.approx(3 * math.log(3))  # One match, the two worst backgrounds.
    assert loss.total.item() == pytest.approx(0.25 + 3 * math.log(3))


def test_all_terms_are_over_the_number_of_matches() -> None:
    offsets, logits = torch.rand(1, 4, 4), torch.rand(1, 4, 3)
    truth = Truth(REFERENCES[:2], torch.tensor([0, 1]), torch.tensor([0, 0]))
    single = loss_of(offsets, logits, truth)
    twice = Truth(REFERENCES[[0, 1, 0, 1]], torch.tensor([0, 1, 0, 1]), torch.tensor([0, 0, 1, 1]))
    double = loss_of(offsets.repeat(2, 1, 1), logits.repeat(2, 1, 1), twice)
    assert torch.allclose(single.total, double.total)


def test_negatives_are_mined_in_their_own_image() -> None:
    cost = torch.tensor([[5.0, 4, 3, 2, 1], [0.5, 0.4, 0.3, 0.2, 0.1], [1.0, 9, 2, 3, 4]])
    positive = torch.tensor(
        [[True, False, False, False, False], [False] * 5, [False, True, True, False, True]]
    )
    options = SsdLossOptions(negatives_per_positive=2, empty_negatives=1)
    assert hard_negatives(cost, positive, options).tolist() == [
        [False, True, True, False, False],
        [True, False, False, False, False],
        [True, False, False, True, False],
    ]


def test_a_batch_without_objects_teaches_background() -> None:
    offsets, logits = (torch.zeros(2, 4, k, requires_grad=True) for k in (4, 3))
    loss = loss_of(offsets, logits, nothing())
    loss.total.backward()
    assert loss.total.item() == pytest.approx(6 * math.log(3))
    assert logits.grad is not None
    assert offsets.grad is not None
    assert ((logits.grad != 0).any(dim=2).sum(dim=1) == 3).all()
    assert (logits.grad[..., 0] <= 0).all()
    assert (offsets.grad == 0).all()


def test_the_papers_loss_of_an_empty_batch_is_zero() -> None:
    loss = loss_of(torch.rand(2, 4, 4), torch.rand(2, 4, 3), nothing(), SsdLossOptions(empty_negatives=0))
    assert loss.total.item() == 0


def test_the_order_of_ground_truth_does_not_matter() -> None:
    torch.manual_seed(0)
    offsets, logits = torch.rand(2, 4, 4), torch.rand(2, 4, 3)
    boxes = REFERENCES + torch.tensor([1.0, 2, 3, 1])
    labels, images = torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 1, 0])
    turned = torch.tensor([2, 0, 3, 1])
    first = loss_of(offsets, logits, Truth(boxes, labels, images))
    second = loss_of(offsets, logits, Truth(boxes[turned], labels[turned], images[turned]))
    assert torch.allclose(first.total, second.total)


def test_same_as_torchvision() -> None:
    """Where no two ground truths want one default box, and every image has a match."""
    model = build_ssd(("a", "b", "c"), input_size=96, backbone="squeezenet1_1", width=0.1)
    references = model.default_boxes()
    torch.manual_seed(1)
    offsets, logits = torch.randn(2, len(references), 4), torch.randn(2, len(references), 4)
    boxes = torch.tensor([[5.0, 7, 31, 28], [50.0, 40, 90, 70], [8.0, 50, 30, 92], [20.0, 22, 70, 80]])
    truth = Truth(boxes, torch.tensor([0, 2, 1, 2]), torch.tensor([0, 0, 1, 1]))
    found = ssd_loss(offsets, logits, truth, references, coder=CODER, options=OPTIONS)

    reference: Any = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=4)
    padded = truth.padded(2)
    expected = reference.compute_loss(
        [{"boxes": own.boxes, "labels": own.label_ids + 1} for own in truth.of_images(2)],
        {"bbox_regression": offsets, "cls_logits": logits},
        [references, references],
        list(match_references(padded.boxes, padded.valid, references, min_iou=0.5)),
    )
    assert float(found.box) > 0.5
    assert torch.allclose(found.box, expected["bbox_regression"], rtol=1e-5)
    assert torch.allclose(found.classes, expected["classification"], rtol=1e-5)
