"""Cells that learn alike act as a 1 x 1 convolution, whatever is learnt."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cvcore.darknet.detector import DarknetDetector
from cvcore.darknet.layers import Detection
from cvcore.darknet.modules import ConnectedBlock
from cvcore.darknet.tied import averaged_over_cells
from cvcore.detect.truth import Truth
from cvcore.detect.yolo import build_yolo

SIZE = 128


def connected(model: DarknetDetector) -> tuple[Detection, nn.Linear]:
    head = model.network.cfg.heads[-1]
    block = model.network.blocks[head.index - 1]
    assert isinstance(head, Detection)
    assert isinstance(block, ConnectedBlock)
    return head, block.linear


def trained(*, tied: bool) -> DarknetDetector:
    torch.manual_seed(0)
    model = build_yolo(("a", "b", "c"), version="v1-tiny", width=0.1, input_size=SIZE, tied=tied).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    boxes = torch.tensor([[10.0, 12.0, 60.0, 70.0], [70.0, 64.0, 120.0, 110.0]])
    truth = Truth(boxes, torch.tensor([0, 2]), torch.tensor([0, 1]))
    for _ in range(3):
        optimizer.zero_grad()
        model.losses(torch.rand(2, 3, SIZE, SIZE), truth)["total"].backward()
        optimizer.step()
    return model


def as_convolution(head: Detection, linear: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    """What a 1 x 1 convolution with the first cell's weights gives, as the head has it."""
    cells, parts, start = head.side**2, [], 0
    for each in (head.num_classes, head.num, 4 * head.num):
        weight = linear.weight[start : start + each].view(each, -1, cells)[..., 0]
        found = torch.einsum("oc,bcp->bpo", weight, x.flatten(2)) + linear.bias[start : start + each]
        parts.append(found.flatten(1))
        start += cells * each
    return torch.cat(parts, dim=1)


def test_a_tied_layer_stays_a_convolution_while_it_learns() -> None:
    model = trained(tied=True)
    head, linear = connected(model)
    assert head.side > 1
    x = torch.rand(2, linear.in_features // head.side**2, head.side, head.side)
    torch.testing.assert_close(linear(x.flatten(1)), as_convolution(head, linear, x), rtol=1e-4, atol=1e-5)


def test_an_untied_layer_does_not() -> None:
    head, linear = connected(trained(tied=False))
    assert not torch.allclose(averaged_over_cells(linear.weight, head), linear.weight, atol=1e-3)


def test_averaging_twice_is_averaging_once_and_keeps_what_is_common() -> None:
    head, linear = connected(trained(tied=True))
    noise = torch.randn_like(linear.weight)
    once = averaged_over_cells(noise, head)
    torch.testing.assert_close(averaged_over_cells(once, head), once)
    assert once.count_nonzero() == linear.weight.numel() / head.side**2
    bias = averaged_over_cells(torch.arange(float(len(linear.bias))), head)
    cells, classes = head.side**2, head.num_classes
    assert bias[: cells * classes].view(cells, classes)[0].tolist() == pytest.approx(
        [(cells - 1) * classes / 2 + k for k in range(classes)]
    )


def test_it_is_read_from_a_checkpoint_as_any_other() -> None:
    model = trained(tied=True)
    again = build_yolo(("a", "b", "c"), **model.config)
    again.load_state_dict(model.state_dict())
    images = torch.rand(1, 3, SIZE, SIZE)
    torch.testing.assert_close(again.eval()(images), model.eval()(images))


@pytest.mark.parametrize("version", ["v1", "v2", "v3-small"])
def test_only_a_single_connected_layer_can_be_tied(version: str) -> None:
    with pytest.raises(ValueError, match="leave tied out"), torch.device("meta"):
        build_yolo(version=version, tied=True)  # type: ignore[arg-type]
