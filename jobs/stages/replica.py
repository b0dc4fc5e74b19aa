"""One replica of a model on its device: batches of canvases in, results out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from cvcore.image.fit import Fit, plan_fit
from cvcore.models import ModelSource
from jobs.spec import Precision
from jobs.stages.batching import measure_rates
from jobs.stages.heads import make_head
from jobs.stages.tasks import Task

CPU_BATCHES = (1, 2, 4, 8, 16)
GPU_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Replica:
    """A model with its task, in a precision.

    Attributes:
        head: the model's task.
        device: where it computes.
        dtype: of the network's arithmetic.
    """

    def __init__(self, source: ModelSource, task: Task, device: torch.device, precision: Precision) -> None:
        self.head = make_head(source, task, device)
        self.device = device
        self.dtype = resolve_precision(precision, device)
        self.run_noise(1)  # the first run of a network allocates and chooses kernels

    @torch.inference_mode()
    def run(self, images: Tensor, fits: Sequence[Fit]) -> list[Any]:
        """A result or a `Failure` for each of (B, H, W, 3) uint8 canvases."""
        if self.device.type == "cuda":
            images = images.pin_memory().to(self.device, non_blocking=True)
        with self._autocast():
            raw = self.head.compute(images, fits)
        return self.head.finish(raw, fits)

    def measure(self, *, clock: Callable[[], float] = time.perf_counter) -> dict[int, float]:
        """Images a second by batch size, as far as larger ones gain; `clock` gives seconds."""
        sizes = GPU_BATCHES if self.device.type == "cuda" else CPU_BATCHES
        return measure_rates(self.run_noise, sizes, clock=clock, out_of_memory=torch.OutOfMemoryError)

    def run_noise(self, size: int) -> None:
        """Run a batch of noise."""
        spec = self.head.input_spec
        noise = torch.randint(0, 256, (size, spec.height, spec.width, 3), dtype=torch.uint8)
        self.run(noise, [plan_fit(spec.height, spec.width, spec)] * size)

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)


def resolve_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """The dtype of the network's arithmetic; `auto` is fp32 on CPU, bf16 on GPUs that have it, else fp16."""
    if precision == "auto":
        if device.type == "cpu":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
