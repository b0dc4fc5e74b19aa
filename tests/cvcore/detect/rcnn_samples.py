"""A picture that region detectors learn by heart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cvcore.detect.base import TrainableDetector
from cvcore.detect.truth import Truth

BOXES = torch.tensor([[10.0, 20.0, 50.0, 60.0], [60.0, 44.0, 120.0, 84.0]])


def canvas(height: int = 96, width: int = 128) -> Tensor:
    """(1, H, W, 3) uint8: a red and a blue box on gray, with some noise."""
    generator = torch.Generator().manual_seed(0)
    picture = torch.randint(50, 70, (1, height, width, 3), dtype=torch.uint8, generator=generator)
    for (x1, y1, x2, y2), color in zip(BOXES.int().tolist(), ([220, 40, 40], [40, 40, 220]), strict=True):
        picture[:, y1:y2, x1:x2] = torch.tensor(color, dtype=torch.uint8)
    return picture


def truth() -> Truth:
    return Truth(BOXES, torch.tensor([0, 1]), torch.tensor([0, 0]))


def no_truth() -> Truth:
    return Truth(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))


def jittered(count: int = 60) -> Tensor:
    """(2 * count, 4) proposals about the boxes, and as many anywhere."""
    generator = torch.Generator().manual_seed(1)
    near = BOXES.repeat_interleave(count // 2, dim=0)
    near = near + torch.randn(near.shape, generator=generator) * 4
    corner = torch.rand(count, 2, generator=generator) * torch.tensor([90.0, 60.0])
    anywhere = torch.cat([corner, corner + 8 + torch.rand(count, 2, generator=generator) * 50], dim=1)
    limit = torch.tensor([128.0, 96.0, 128.0, 96.0])
    return torch.cat([near, anywhere]).clamp(min=0).minimum(limit)


def train(model: TrainableDetector, make: Callable[[], Any], *, steps: int, rate: float) -> list[float]:
    """Losses of so many steps on one picture."""
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    losses = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 10, 0.05 + 2 * (1 - step / steps))
        optimizer.zero_grad()
        total = model.losses(make(), truth())["total"]
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        losses.append(total.item())
    return losses
