"""Layers that do not learn: their parameters get no gradient, their batch norms keep their statistics.

What is frozen is said by `requires_grad` alone, so a state dict does not change by it.
"""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from cvcore.detect.base import TrainableDetector
from cvcore.errors import ModelError, did_you_mean
from cvcore.segment.base import Segmenter

BACKBONE = "backbone"


def freeze(model: TrainableDetector | Segmenter, what: str) -> int:
    """Freeze a part of a model for the training to come; returns how many values no longer learn.

    Args:
        model: any detector that trains, or any segmenter.
        what: `backbone`; a number N for the first N convolutions, with what belongs to them (norms, and
            whatever comes before the next one); or where the names of the parameters begin, as `trunk` or
            `network.blocks.0`: whole parts between dots. Several are separated by commas.

    Raises:
        ModelError: for what no parameter answers to, or where nothing would be left to learn.
    """
    named = dict(model.named_parameters())
    chosen: set[str] = set()
    for part in what.split(","):
        chosen |= _names_of(model, part.strip(), list(named))
    left = [name for name, p in named.items() if p.requires_grad and name not in chosen]
    if not left:
        raise ModelError(
            f"freeze {what!r} leaves nothing of the {type(model).__name__} to learn: freeze less"
        )
    for name in chosen:
        named[name].requires_grad_(False)
    return sum(named[name].numel() for name in chosen)


def hold_frozen_norms(model: nn.Module) -> None:
    """Put batch norms whose scale is frozen into evaluation mode, as `train()` does not."""
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.weight is not None and not module.weight.requires_grad:
            module.eval()


def _names_of(model: TrainableDetector | Segmenter, part: str, names: list[str]) -> set[str]:
    if part.isdecimal():
        return _before_convolution(model, int(part))
    prefixes = model.backbone_parts if part == BACKBONE else (part,)
    found = {name for name in names if any(f"{name}.".startswith(f"{prefix}.") for prefix in prefixes)}
    if not found and part == BACKBONE:
        raise ModelError(
            f"the {type(model).__name__} has no backbone to freeze: say a number of convolutions, or where "
            f"parameters' names begin: {', '.join(sorted({name.partition('.')[0] for name in names}))}"
        )
    if not found:
        parts = sorted({name.partition(".")[0] for name in names})
        hint = did_you_mean(part, [BACKBONE, *parts])
        raise ModelError(
            f"freeze {part!r} is no part of the {type(model).__name__}.{hint} Say {BACKBONE}, a number of "
            f"convolutions, or where parameters' names begin: {', '.join(parts)}"
        )
    return found


def _before_convolution(model: nn.Module, count: int) -> set[str]:
    """Parameters of the first `count` convolutions, and of all between them and the next one."""
    names: set[str] = set()
    seen = 0
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            seen += 1
        if seen > count:
            return names
        if seen:
            names |= {
                f"{path}.{name}" if path else name for name, _ in module.named_parameters(recurse=False)
            }
    if seen < count:
        raise ModelError(f"freeze {count}: the {type(model).__name__} has {seen} convolutions")
    return names
