"""Darknet's activation functions under Darknet's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

Activation = Callable[[Tensor], Tensor]


def _linear(x: Tensor) -> Tensor:
    return x


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1, inplace=True)


def _relu(x: Tensor) -> Tensor:
    return F.relu(x, inplace=True)


def _relu6(x: Tensor) -> Tensor:
    return F.relu6(x, inplace=True)


def _loggy(x: Tensor) -> Tensor:
    return 2 * torch.sigmoid(x) - 1


def _relie(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.01, inplace=True)


def _ramp(x: Tensor) -> Tensor:
    return F.relu(x) + 0.1 * x


def _hardtan(x: Tensor) -> Tensor:
    return F.hardtanh(x)


def _lhtan(x: Tensor) -> Tensor:
    """Linear between 0 and 1, slope 0.001 outside."""
    inside = x.clamp(0, 1)
    return inside + 0.001 * (x - inside)


def _plse(x: Tensor) -> Tensor:
    """Piecewise linear sigmoid: slope 1/8 between -4 and 4, 0.01 outside."""
    inside = x.clamp(-4, 4)
    return 0.125 * inside + 0.5 + 0.01 * (x - inside)


def _stair(x: Tensor) -> Tensor:
    """Flat between even and odd integers, slope 1 between odd and even ones."""
    whole = torch.floor(x)
    return torch.floor(x / 2) + torch.where(whole.remainder(2) == 0, torch.zeros_like(x), x - whole)


def _gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def _hard_mish(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.where(x > -2, x * x / 2 + x, torch.zeros_like(x)))


ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "linear": _linear,
        "leaky": _leaky,
        "relu": _relu,
        "relu6": _relu6,
        "logistic": torch.sigmoid,
        "tanh": torch.tanh,
        "elu": F.elu,
        "selu": F.selu,
        "gelu": _gelu,
        "mish": F.mish,
        "hard_mish": _hard_mish,
        "swish": F.silu,
        "loggy": _loggy,
        "relie": _relie,
        "ramp": _ramp,
        "hardtan": _hardtan,
        "lhtan": _lhtan,
        "plse": _plse,
        "stair": _stair,
    }
)
"""Every activation by its `.cfg` name. A function may overwrite its argument."""
