"""Random samples of many rows at once."""

from __future__ import annotations

import torch
from torch import Tensor


def sample_rows(eligible: Tensor, limits: Tensor | int) -> Tensor:
    """Choose uniformly, without replacement, at most so many of each row.

    Args:
        eligible: (B, N) bool.
        limits: (B,) int64 of the rows, or one for all.

    Returns:
        (B, N) bool, the chosen ones among `eligible`. Draws from torch's global generator of the device.
    """
    rows, columns = eligible.shape
    limits = torch.as_tensor(limits, device=eligible.device).expand(rows).clamp(max=columns)
    longest = int(limits.max()) if rows else 0
    keys = torch.rand(eligible.shape, device=eligible.device).masked_fill(~eligible, -1.0)
    top = keys.topk(longest, dim=1)
    within = torch.arange(longest, device=eligible.device)[None] < limits[:, None]
    chosen = torch.zeros_like(eligible)
    return chosen.scatter_(1, top.indices, within & (top.values >= 0))
