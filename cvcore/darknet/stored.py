"""What a block stores in a `.weights` file, and as what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

Role = Literal["bias", "scale", "mean", "variance", "kernel", "matrix"]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor of a block; a `matrix` (outputs, inputs) is the one that some versions store transposed."""

    role: Role
    tensor: Tensor


def stored_norm(norm: nn.BatchNorm2d) -> list[StoredTensor]:
    """Scale, mean and variance, in file order."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return [
        StoredTensor("scale", norm.weight),
        StoredTensor("mean", norm.running_mean),
        StoredTensor("variance", norm.running_var),
    ]
