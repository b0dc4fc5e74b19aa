"""Random draws of code that knows torch's global generator only, made from a generator of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_DRAWS = frozenset(
    {torch.rand, torch.randint, torch.randperm, torch.randn, torch.bernoulli, torch.Tensor.uniform_}
)


class DrawsFrom(TorchFunctionMode):
    """Inside the block what torch draws comes from `generator`; the global one is neither read nor moved.

    torch keeps the mode by thread, so other threads (a training step with its dropout) draw as ever.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self._generator = generator

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func in _DRAWS:
            given["generator"] = self._generator
        return func(*args, **given)
