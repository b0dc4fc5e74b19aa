"""From canvases to what networks read, on the canvases' device."""

from __future__ import annotations

import torch
from torch import Tensor


def unit_floats(canvases: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, H, W, 3) uint8 RGB canvases to contiguous (B, 3, H, W) floats, 0 to 1."""
    return canvases.permute(0, 3, 1, 2).contiguous().to(dtype).div_(255.0)
