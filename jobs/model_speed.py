"""How fast a detector is: one image at a time, and in the batch that suits the device best."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cvcore.detect.base import Detector
from cvcore.image.fit import Fit
from cvcore.train.loop import EVALUATION
from cvcore.train.samples import Sample
from cvcore.types import InputSpec
from jobs.stages.batching import choose_batch_size, measure_rates

BATCH_SIZES = (1, 2, 4, 8, 16, 32)
DEFAULT_BUDGET_S = 20.0
MAX_RUNS, MIN_RUNS = 200, 3
OUT_OF_MEMORY = (MemoryError, torch.OutOfMemoryError)
MAX_PIXELS = 32 * 416 * 416
"""Of a batch on a CPU: more gains nothing, and the kernel ends a process that needs too much memory."""


@dataclass(frozen=True, slots=True)
class BatchSpeed:
    """Of batches of one size: images a second, and how long a batch took, in the middle and at worst."""

    batch_size: int
    images_per_s: float
    latency_p50_s: float
    latency_p99_s: float
    num_runs: int


@dataclass(frozen=True, slots=True)
class ModelSpeed:
    """Speed of preprocessing, network, decoding and suppression on canvases that the device holds.

    Attributes:
        single: of one image at a time.
        best: of the batch size with the highest rate, or the smallest of those within 5 % of it.
        rates: images a second by batch size, as far as sizes were tried; short measurements.
        device: its name; `threads` are torch's on a CPU.
    """

    single: BatchSpeed
    best: BatchSpeed
    rates: dict[int, float]
    device: str
    threads: int


class _Runner:
    """Runs batches of the same few images."""

    def __init__(self, model: Detector, samples: Sequence[Sample], device: torch.device) -> None:
        self._model, self._device = model, device
        self._canvases = torch.stack([torch.from_numpy(sample.canvas) for sample in samples]).to(device)
        self._fits: list[Fit] = [sample.fit for sample in samples]

    def run(self, batch_size: int) -> None:
        """Detect in a batch."""
        places = [k % len(self._fits) for k in range(batch_size)]
        self._model.predict(self._canvases[places], [self._fits[k] for k in places], EVALUATION)
        if self._device.type == "cuda":
            torch.cuda.synchronize()

    def measure(self, batch_size: int, budget_s: float) -> BatchSpeed:
        """Time batches that are warm already, until the budget is spent."""
        seconds: list[float] = []
        began = time.perf_counter()
        while len(seconds) < MIN_RUNS or (len(seconds) < MAX_RUNS and time.perf_counter() - began < budget_s):
            before = time.perf_counter()
            self.run(batch_size)
            seconds.append(time.perf_counter() - before)
        return BatchSpeed(
            batch_size,
            batch_size * len(seconds) / sum(seconds),
            float(np.percentile(seconds, 50)),
            float(np.percentile(seconds, 99)),
            len(seconds),
        )


def measure_speed(
    model: Detector, samples: Sequence[Sample], *, budget_s: float = DEFAULT_BUDGET_S
) -> ModelSpeed:
    """Time a model, in evaluation mode on its device.

    Args:
        model: the detector.
        samples: images that batches are made of, over and over; up to 32 are of use.
        budget_s: about how long to measure, seconds.

    Raises:
        ValueError: without samples.
    """
    if not samples:
        raise ValueError("speed is measured on at least one image, got none")
    device = next(model.parameters()).device
    runner = _Runner(model, samples[: max(BATCH_SIZES)], device)
    spec = model.input_spec
    sizes = [n for n in BATCH_SIZES if device.type != "cpu" or n <= most_images(spec)]
    rates = measure_rates(runner.run, sizes, budget_s=0.5 * budget_s, out_of_memory=OUT_OF_MEMORY)
    single = runner.measure(1, 0.25 * budget_s)
    chosen = choose_batch_size(rates)
    best = single if chosen == 1 else runner.measure(chosen, 0.25 * budget_s)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return ModelSpeed(single, best, rates, name, torch.get_num_threads())


def most_images(spec: InputSpec) -> int:
    """How many canvases go into a batch without risk."""
    return max(1, MAX_PIXELS // (spec.height * spec.width))
