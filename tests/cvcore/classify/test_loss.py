from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from cvcore.classify.loss import BETA, ClassLossOptions, balanced_weights, box_loss, class_loss

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0], [0.5, 0.5, 3.0]])
TRUTH = torch.tensor([0, 2, 2])


def test_smoothing_gives_all_classes_a_share_of_the_target() -> None:
    target = 0.7 * torch.eye(3)[TRUTH] + 0.1
    by_hand = -(target * LOGITS.log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(class_loss(LOGITS, TRUTH, ClassLossOptions(label_smoothing=0.3)), by_hand)


def test_weights_of_classes_are_those_of_their_images() -> None:
    losses = nn.functional.cross_entropy(LOGITS, TRUTH, reduction="none")
    by_hand = (4 * losses[0] + losses[1] + losses[2]) / 6
    found = class_loss(LOGITS, TRUTH, ClassLossOptions(class_weights=(4.0, 9.0, 1.0)))
    torch.testing.assert_close(found, by_hand)


def test_balanced_weights_are_scikit_learns() -> None:
    labels = np.array([0] * 7 + [1] * 2 + [2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert balanced_weights([7, 2, 1]) == pytest.approx(expected.tolist())
    with pytest.raises(ValueError, match=r"each class needs images.*\[3, 0\]"):
        balanced_weights([3, 0])


def test_the_boxes_loss_is_squared_near_the_truth_and_linear_far_from_it() -> None:
    wanted = torch.zeros(1, 4)
    near, far = torch.tensor([[0.05, 0.0, 0.0, 0.0]]), torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    assert box_loss(near, wanted).item() == pytest.approx(0.5 * 0.05**2 / BETA)
    assert box_loss(far, wanted).item() == pytest.approx(2 * (0.5 - BETA / 2))


@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_smoothing_that_leaves_nothing_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="label_smoothing must be"):
        ClassLossOptions(label_smoothing=value)
