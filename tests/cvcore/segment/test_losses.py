from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from cvcore.segment.borders import border_weights
from cvcore.segment.losses import IGNORED, LOSSES, SegmentLossOptions, segment_losses


def batch(num_classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, num_classes, 6, 5, generator=generator)
    masks = torch.randint(0, num_classes, (2, 6, 5), generator=generator)
    masks[0, 0] = IGNORED
    return logits, masks


@pytest.mark.parametrize("weights", [(), (1.0, 4.0, 0.5)], ids=["plain", "weighted"])
def test_cross_entropy_is_torchs(weights: tuple[float, ...]) -> None:
    logits, masks = batch()
    found = segment_losses(logits, masks, SegmentLossOptions(class_weights=weights))["total"]
    weight = torch.tensor(weights) if weights else None
    torch.testing.assert_close(found, F.cross_entropy(logits, masks, weight=weight, ignore_index=IGNORED))


@pytest.mark.parametrize("weights", [(), (1.0, 4.0, 0.5)], ids=["plain", "weighted"])
def test_balanced_is_each_images_weighted_mean_of_its_classes(weights: tuple[float, ...]) -> None:
    logits, masks = batch()
    masks[1][masks[1] == 2] = 0  # a class that is not there has no share
    means = []
    for image, mask in zip(logits, masks, strict=True):
        share = torch.tensor(weights or (1.0, 1.0, 1.0))
        of_class = [
            F.cross_entropy(image[None], torch.where(mask == c, mask, IGNORED)[None], ignore_index=IGNORED)
            for c in range(3)
        ]
        present = [c for c in range(3) if (mask == c).any()]
        means.append(sum(share[c] * of_class[c] for c in present) / sum(share[c] for c in present))
    found = segment_losses(logits, masks, SegmentLossOptions("balanced", weights))["total"]
    torch.testing.assert_close(found, torch.stack(means).mean())


def test_a_speck_teaches_as_much_as_half_an_image_when_classes_are_balanced() -> None:
    masks = torch.zeros(2, 32, 32, dtype=torch.int64)
    masks[0, 3, 4], masks[1, 16:] = 1, 1
    taught = {}
    for name in ("balanced", "cross_entropy"):
        logits = torch.zeros(2, 2, 32, 32, requires_grad=True)
        segment_losses(logits, masks, SegmentLossOptions(name))["total"].backward()
        assert logits.grad is not None
        taught[name] = (logits.grad[:, 1] * (masks == 1)).sum(dim=(1, 2))
    assert taught["balanced"][0].item() == pytest.approx(taught["balanced"][1].item())
    assert taught["cross_entropy"][0].item() == pytest.approx(taught["cross_entropy"][1].item() / 512)


def test_focal_loss_without_focus_is_cross_entropy_and_with_it_follows_its_formula() -> None:
    logits, masks = batch()
    plain = LOSSES["cross_entropy"](logits, masks, SegmentLossOptions())
    torch.testing.assert_close(LOSSES["focal"](logits, masks, SegmentLossOptions(focal_gamma=0)), plain)
    p = torch.tensor(0.8)
    one = torch.log(torch.stack([p, 1 - p])).view(1, 2, 1, 1)
    found = LOSSES["focal"](one, torch.zeros(1, 1, 1, dtype=torch.int64), SegmentLossOptions(focal_gamma=2))
    assert found.item() == pytest.approx(-(0.2**2) * math.log(0.8))


def test_dice_by_hand() -> None:
    chances = torch.tensor([0.9, 0.6, 0.2, 0.5])
    logits = torch.log(torch.stack([1 - chances, chances])).view(1, 2, 1, 4)
    masks = torch.tensor([[[1, 1, 0, IGNORED]]])
    one = 2 * (0.9 + 0.6) / (0.9 + 0.6 + 0.2 + 2)
    zero = 2 * 0.8 / (0.1 + 0.4 + 0.8 + 1)
    found = LOSSES["dice"](logits, masks, SegmentLossOptions())
    assert found.item() == pytest.approx(1 - (one + zero) / 2, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_change_nothing_and_learn_nothing(name: str) -> None:
    logits, masks = batch(2)
    options = SegmentLossOptions(name)
    other = logits.clone()
    other[0, :, 0] += 100
    other.requires_grad_(True)
    found = segment_losses(other, masks, options)["total"]
    torch.testing.assert_close(found, segment_losses(logits, masks, options)["total"])
    found.backward()
    assert other.grad is not None
    assert not other.grad[0, :, 0].any()
    assert other.grad[1].any()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("value", [0, IGNORED], ids=["all background", "nothing judged"])
def test_losses_of_empty_masks_are_finite(name: str, value: int) -> None:
    logits = batch(2)[0].requires_grad_(True)
    total = segment_losses(logits, torch.full((2, 6, 5), value), SegmentLossOptions(name))["total"]
    total.backward()
    assert total.isfinite()
    assert (total == 0) == (value == IGNORED)


def test_terms_are_added_up() -> None:
    logits, masks = batch()
    found = segment_losses(logits, masks, SegmentLossOptions("cross_entropy+dice"))
    assert list(found) == ["total", "cross_entropy", "dice"]
    torch.testing.assert_close(found["total"], found["cross_entropy"] + found["dice"])


def test_masks_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="logits' size"):
        segment_losses(torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 5), SegmentLossOptions())


@pytest.mark.parametrize(
    ("loss", "message"), [("dise", "Did you mean 'dice'"), ("dice+dice", "twice"), ("", "no loss")]
)
def test_wrong_losses(loss: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SegmentLossOptions(loss)


@pytest.mark.parametrize("weights", [(1, -2), (1, math.nan), (1, "x")])
def test_wrong_class_weights(weights: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="numbers that are not negative"):
        SegmentLossOptions(class_weights=weights)


def test_border_weights_follow_the_equation() -> None:
    mask = np.zeros((20, 30), np.int64)
    mask[2:9, 3:10], mask[2:9, 13:20], mask[14:18, 5:25] = 1, 1, 2
    found = border_weights(torch.from_numpy(mask)[None], ignored=IGNORED, weight=10, sigma_px=2)[0].numpy()
    objects = [np.zeros_like(mask, bool) for _ in range(3)]
    objects[0][2:9, 3:10] = objects[1][2:9, 13:20] = objects[2][14:18, 5:25] = True
    distances = np.sort([ndimage.distance_transform_edt(~each) for each in objects], axis=0)
    border = 10 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * 2**2)) * (mask == 0)
    shares = np.array([mask.size / (3 * (mask == label).sum()) for label in range(3)])
    np.testing.assert_allclose(found, shares[mask] + border, rtol=1e-5)
    assert found[5, 11] > found[11, 11] > shares[0]


def test_one_object_has_no_border() -> None:
    mask = torch.zeros(1, 8, 8, dtype=torch.int64)
    mask[0, :4] = 1
    mask[0, 7] = IGNORED
    found = border_weights(mask, ignored=IGNORED, weight=10, sigma_px=5)[0]
    assert found[7].eq(0).all()
    assert found[:4].unique().numel() == found[4:7].unique().numel() == 1
    assert found[:7].mean().item() == pytest.approx(1)
