"""The learning rate over a training run."""

from __future__ import annotations

import math


def learning_rate(
    step: int, *, peak: float, total_steps: int, warmup_steps: int, floor: float = 0.01
) -> float:
    """Linear warm-up to `peak`, then half a cosine down to `peak * floor` (Loshchilov and Hutter 2017).

    Args:
        step: from 0 to `total_steps` - 1.
        peak: the highest rate.
        total_steps: of the run.
        warmup_steps: of the rise.
        floor: the last rate over the highest.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))
