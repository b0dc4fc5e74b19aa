"""A training run in the middle, whatever it trains: weights, their average, the optimiser, steps made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from cvcore.errors import VeedorError
from cvcore.train.average import WeightAverage
from cvcore.train.freeze import hold_frozen_norms
from cvcore.train.schedule import learning_rate

M = TypeVar("M", bound=nn.Module)
B = TypeVar("B")

WEIGHT_DECAY = 0.02
GRAD_CLIP = 10.0

Terms = Mapping[str, Tensor]
"""Scalars of a batch; the one called `total` is minimised, the others are told."""


class LossIsNotFiniteError(VeedorError):
    """A step's loss was NaN or infinite; the weights are those before the step."""


@dataclass(frozen=True, slots=True)
class OptimizeOptions:
    """How weights are moved.

    Attributes:
        learning_rate: the schedule's peak.
        total_steps, warmup_steps: of the run.
        weight_decay: of convolution weights; norms and biases have none.
        grad_clip: greatest norm of the gradient.
    """

    learning_rate: float
    total_steps: int
    warmup_steps: int
    weight_decay: float = WEIGHT_DECAY
    grad_clip: float = GRAD_CLIP


class Progress(Generic[M, B]):
    """A run in the middle.

    Args:
        model: the bare model.
        network: what computes: the model itself, or its distributed wrapper.
        compute: the loss of a batch, by way of `network`.
        options: how weights are moved.
        average_decay: see `WeightAverage`.
    """

    def __init__(
        self,
        model: M,
        network: nn.Module,
        compute: Callable[[B], Terms],
        options: OptimizeOptions,
        *,
        average_decay: float = 0.998,
    ) -> None:
        self.model = model
        self.options = options
        self.step = 0
        self._network = network
        self._compute = compute
        self.average = WeightAverage(model, decay=average_decay)
        self._optimizer = torch.optim.AdamW(_parameter_groups(model, options.weight_decay), lr=1.0)

    @property
    def learning_rate(self) -> float:
        """Of the last step made; of the first one before that."""
        return self._rate(max(0, self.step - 1))

    def state(self) -> dict[str, Any]:
        """All that a run needs to continue exactly."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.model.state_dict(),
            "num_updates": self.average.num_updates,
            "optimizer": self._optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave."""
        self.step = int(state["step"])
        self.model.load_state_dict(state["model"])
        self.average.model.load_state_dict(state["average"])
        self.average.num_updates = int(state["num_updates"])
        self._optimizer.load_state_dict(state["optimizer"])

    def train_epoch(self, batches: Iterable[B]) -> dict[str, float]:
        """Make one optimiser step for each batch; returns the means of the loss's terms.

        Raises:
            LossIsNotFiniteError: at the first step whose loss is not; nothing has been moved by it.
        """
        self._network.train()
        hold_frozen_norms(self.model)
        names: list[str] = []
        steps: list[Tensor] = []
        for batch in batches:
            terms = self._train_step(batch)
            names = list(terms)
            steps.append(torch.stack(list(terms.values())).detach())
        return dict(zip(names, torch.stack(steps).mean(dim=0).tolist(), strict=True))

    def _rate(self, step: int) -> float:
        return learning_rate(
            step,
            peak=self.options.learning_rate,
            total_steps=self.options.total_steps,
            warmup_steps=self.options.warmup_steps,
        )

    def _train_step(self, batch: B) -> Terms:
        rate = self._rate(self.step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        terms = self._compute(batch)
        total = terms["total"]
        if not torch.isfinite(total):
            raise LossIsNotFiniteError(
                f"the loss is {total.item()} at step {self.step}: lower the learning rate, or use fp32"
            )
        self._optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), self.options.grad_clip)
        self._optimizer.step()
        self.average.update(self.model)
        self.step += 1
        return terms


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices and kernels are decayed; vectors (norms, biases) are not."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
