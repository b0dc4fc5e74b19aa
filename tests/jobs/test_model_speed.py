"""Timing a detector: which batches are tried, and what is said of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cvcore.detect.base import Detector
from cvcore.image.fit import Fit, plan_fit
from cvcore.train.samples import Sample
from cvcore.types import Detections, DetectOptions, InputSpec
from jobs.model_speed import BATCH_SIZES, MAX_PIXELS, measure_speed, most_images


class Blank(Detector):
    """Finds nothing, in a time that is the same for every batch; has memory for batches of `most`."""

    def __init__(self, most: int = 1000, side: int = 8) -> None:
        super().__init__()
        self.labels, self.most = ("a",), most
        self.input_spec = InputSpec(side, side)
        self.weight = nn.Parameter(torch.zeros(1))
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        if len(images) > self.most:
            raise MemoryError("too many")
        time.sleep(0.004)
        return images * self.weight

    def decode(self, raw: Any, fits: Sequence[Fit], options: DetectOptions) -> list[Detections]:
        del fits, options
        nothing = torch.zeros(0)
        return [Detections(torch.zeros(0, 4), nothing, nothing.long())] * len(raw)


def samples(count: int, spec: InputSpec) -> list[Sample]:
    canvas = np.zeros((spec.height, spec.width, 3), np.uint8)
    nothing = torch.zeros(0)
    return [Sample(k, canvas, plan_fit(8, 8, spec), torch.zeros(0, 4), nothing.long()) for k in range(count)]


def test_one_image_and_the_best_batch_are_timed() -> None:
    model = Blank()
    found = measure_speed(model, samples(3, model.input_spec), budget_s=6.0)
    assert found.single.batch_size == 1
    assert found.best.batch_size > 1
    assert found.best.images_per_s > found.single.images_per_s
    assert set(found.rates) <= set(BATCH_SIZES)
    for each in (found.single, found.best):
        assert 0 < each.latency_p50_s <= each.latency_p99_s
        assert each.num_runs >= 3
        assert each.images_per_s == pytest.approx(each.batch_size / each.latency_p50_s, rel=5)
    assert max(model.batches) > 3, "few images make large batches too"


def test_batches_that_do_not_fit_are_not_chosen() -> None:
    model = Blank(most=2)
    found = measure_speed(model, samples(2, model.input_spec), budget_s=5.0)
    assert set(found.rates) <= {1, 2}
    assert found.best.batch_size <= 2


def test_large_canvases_make_small_batches() -> None:
    assert most_images(InputSpec(416, 416)) == 32
    assert most_images(InputSpec(4000, 4000)) == 1
    for side in (100, 500, 1333):
        assert most_images(InputSpec(side, side)) * side**2 <= MAX_PIXELS


def test_nothing_is_timed_on_nothing() -> None:
    with pytest.raises(ValueError, match="at least one"):
        measure_speed(Blank(), [])
