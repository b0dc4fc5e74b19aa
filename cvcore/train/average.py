"""An exponential moving average of a model's weights."""

from __future__ import annotations

import copy
import math
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class WeightAverage(Generic[M]):
    """Keeps a copy of a model that follows it slowly; the copy is what is evaluated and shipped.

    The decay starts near 0 and rises to `decay` over about `ramp_steps` steps, so that the random start is
    soon forgotten.

    Attributes:
        model: the averaged copy, in eval mode.
        num_updates: steps averaged so far.
    """

    def __init__(self, model: M, *, decay: float = 0.998, ramp_steps: int = 300) -> None:
        self.model: M = copy.deepcopy(model).eval().requires_grad_(False)
        self.num_updates = 0
        self._decay = decay
        self._ramp_steps = ramp_steps

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards `model`; integer buffers are copied."""
        self.num_updates += 1
        keep = self._decay * (1 - math.exp(-self.num_updates / self._ramp_steps))
        moved: tuple[list[Tensor], list[Tensor]] = ([], [])
        for mine, theirs in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if mine.is_floating_point():
                moved[0].append(mine)
                moved[1].append(theirs)
            else:
                mine.copy_(theirs)
        torch._foreach_lerp_(*moved, 1 - keep)
