"""What an image costs a detector: parameters, operations, boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cvcore.darknet.model import DarknetModel
from cvcore.detect.base import Detector
from cvcore.image.fit import Fit


@dataclass(frozen=True, slots=True)
class ModelCost:
    """Size of a detector.

    Attributes:
        num_parameters: learnable values.
        num_operations: of one image in the network, a multiply-add counted as 2, as Darknet's BFLOPs are.
            Convolutions and matrix products count; what finds proposals outside the network does not.
        num_boxes: among which suppression chooses where nothing is thresholded; None if unknown.
    """

    num_parameters: int
    num_operations: int
    num_boxes: int | None


@torch.no_grad()
def measure_cost(model: Detector, canvas: Tensor, fit: Fit) -> ModelCost:
    """Run one image, a (H, W, 3) uint8 canvas on the model's device, and count."""
    images = model.preprocess(canvas[None], [fit])
    return ModelCost(
        sum(parameter.numel() for parameter in model.parameters()),
        count_operations(model, images),
        model.count_boxes(images),
    )


def count_operations(model: nn.Module, images: Any) -> int:
    """Operations of a forward pass on `images`, a batch of one, a multiply-add counted as 2.

    Of a Darknet model they are those of its `.cfg`, as published, whatever its convolutions were fused with.
    """
    if isinstance(model, DarknetModel):
        return model.network.cfg.num_operations
    with FlopCounterMode(display=False) as counter:
        model(images)
    return int(counter.get_total_flops())
