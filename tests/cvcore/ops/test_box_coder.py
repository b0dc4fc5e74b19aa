from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder as Reference

from cvcore.ops.box_coder import MAX_LOG_SCALE, BoxCoder

WEIGHTS = [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0), (2.0, 3.0, 4.0, 5.0)]
by_weights = pytest.mark.parametrize("weights", WEIGHTS)


def random_boxes(count: int, *, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 500
    return torch.cat([corner, corner + 1 + torch.rand(count, 2, generator=generator) * 300], dim=1)


@by_weights
def test_same_as_torchvision(weights: tuple[float, float, float, float]) -> None:
    boxes, references = random_boxes(200, seed=0), random_boxes(200, seed=1)
    coder, reference = BoxCoder(weights), Reference(weights)
    offsets = coder.encode(boxes, references)
    torch.testing.assert_close(offsets, reference.encode_single(boxes, references))
    wild = torch.randn(200, 4, generator=torch.Generator().manual_seed(2)) * 8
    expected = reference.decode_single(wild, references)
    torch.testing.assert_close(coder.decode(wild, references), expected, atol=1e-2, rtol=1e-5)


@by_weights
def test_round_trip(weights: tuple[float, float, float, float]) -> None:
    boxes, references = random_boxes(500, seed=3).double(), random_boxes(500, seed=4).double()
    coder = BoxCoder(weights, max_log_scale=20)
    torch.testing.assert_close(coder.decode(coder.encode(boxes, references), references), boxes)


def test_no_offset_is_the_reference() -> None:
    references = random_boxes(7, seed=5)
    torch.testing.assert_close(BoxCoder().decode(torch.zeros(7, 4), references), references)
    assert BoxCoder(WEIGHTS[1]).encode(references, references).abs().max() < 1e-5


def test_equation_by_hand() -> None:
    reference, box = torch.tensor([0.0, 0.0, 10.0, 20.0]), torch.tensor([5.0, 5.0, 25.0, 25.0])
    # Centres (5, 10) and (15, 15); sizes (10, 20) and (20, 20).
    expected = torch.tensor([10.0, 2.5, 5 * torch.log(torch.tensor(2.0)).item(), 0.0])
    torch.testing.assert_close(BoxCoder(WEIGHTS[1]).encode(box, reference), expected)


def test_growth_is_limited() -> None:
    reference = torch.tensor([[0.0, 0.0, 16.0, 16.0]])
    grown = BoxCoder().decode(torch.tensor([[0.0, 0.0, 80.0, MAX_LOG_SCALE]]), reference)
    assert (grown[0, 2:] - grown[0, :2]).tolist() == pytest.approx([1000.0, 1000.0], rel=1e-5)


def test_shapes_broadcast_over_batches_and_classes() -> None:
    references = random_boxes(6, seed=6)
    offsets = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(7))
    both = BoxCoder().decode(offsets, references)
    assert torch.equal(both[1], BoxCoder().decode(offsets[1], references))
    per_class = BoxCoder().decode(offsets.transpose(0, 1), references[:, None])
    assert torch.equal(per_class[:, 1], both[1])


def test_no_boxes() -> None:
    none = torch.zeros(0, 4)
    assert BoxCoder().encode(none, none).shape == (0, 4)
    assert BoxCoder().decode(none, none).shape == (0, 4)


@pytest.mark.parametrize("weights", [(1, 1, 1), (0, 1, 1, 1), (1, 1, 1, -1)])
def test_wrong_weights(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="4 positive"):
        BoxCoder(weights)
