"""The inference stage: one actor, one replica of the model, whole units in and out."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from torch import Tensor

from cvcore.image.fit import Fit, plan_fit
from cvcore.models import ModelSource
from jobs.resources import LOGICAL_GPUS_VARIABLE
from jobs.stages.batching import choose_batch_size
from jobs.stages.guard import Guard
from jobs.stages.replica import Replica
from jobs.stages.rows import Failure, canvas_array
from jobs.stages.settings import InferSettings
from jobs.storage import open_store


class InferStage:
    """One replica of the model: canvases in (`canvas_schema`), rows of the task out."""

    def __init__(self, model: Any, settings: InferSettings) -> None:
        torch.set_num_threads(settings.threads)
        self._settings = settings
        source: ModelSource = ray.get(model)
        device = inference_device(on_gpu=settings.on_gpu)
        self._replica = Replica(source, settings.task, device, settings.precision)
        self._head = self._replica.head
        self._guard = Guard(settings.bounds)
        self._batch_size = settings.batch_size or self._agreed_batch_size()
        settings.tally.ready(f"{os.uname().nodename}:{os.getpid()}")

    def __call__(
        self, batch: pa.Table, *, computing: contextlib.AbstractContextManager[object] | None = None
    ) -> pa.Table:
        """Infer a unit; see `infer`. `computing` is held meanwhile."""
        unit = batch.column("unit")[0].as_py()
        self._settings.tally.begin("infer", unit)
        with computing or contextlib.nullcontext():
            began = time.monotonic()
            torch.set_num_threads(self._settings.threads)  # of the calling thread
            table = self.infer(batch)
            took_s = time.monotonic() - began
        self._settings.tally.done("infer", unit, table.column("status"), seconds=took_s)
        if (telemetry := self._settings.tally.telemetry) is not None:
            telemetry.computed(batch_size=self._batch_size, memory=_memory(self._replica.device))
        return table

    def infer(self, batch: pa.Table) -> pa.Table:
        """Infer decoded rows; they keep their order, and rows that failed before pass through."""
        spec = self._head.input_spec
        valid = np.flatnonzero(batch.column("canvas").is_valid().to_numpy())
        canvases = canvas_array(batch.column("canvas"), spec.height, spec.width)
        heights, widths = batch.column("height").to_pylist(), batch.column("width").to_pylist()
        fits = [plan_fit(heights[i], widths[i], spec) for i in valid]
        found = dict(zip(valid.tolist(), self._infer(canvases, valid, fits), strict=True))
        return self._head.table(batch, found)

    def _infer(
        self, canvases: np.ndarray[Any, np.dtype[np.uint8]], rows: Any, fits: list[Fit]
    ) -> Iterator[Any]:
        start = 0
        while start < len(fits):
            stop = min(start + self._batch_size, len(fits))
            with self._guard.on(None, num_inputs=stop - start):
                found = self._infer_surely(torch.from_numpy(canvases[rows[start:stop]]), fits[start:stop])
            yield from found
            start = stop

    def _infer_surely(self, images: Tensor, fits: Sequence[Fit]) -> list[Any]:
        """A result or a reason for each image: a batch that fails is halved until the guilty are alone."""
        try:
            return self._replica.run(images, fits)
        except torch.AcceleratorError:
            # The device's context is lost, and every later call would fail: a new process has to go on.
            os.kill(os.getpid(), signal.SIGKILL)
            raise
        except Exception as error:  # noqa: BLE001  # a defect that one image brings out costs that image
            out_of_memory = isinstance(error, torch.OutOfMemoryError)
            if len(fits) == 1:
                return [_failure(error)]
            middle = len(fits) // 2
            if out_of_memory:
                self._batch_size = min(self._batch_size, middle)
        if out_of_memory:  # outside of the handler, whose traceback keeps the batch's tensors
            torch.cuda.empty_cache()
        found: list[Any] = []
        while len(found) < len(fits):
            part = slice(len(found), len(found) + min(middle, self._batch_size))
            found += self._infer_surely(images[part], fits[part])
        return found

    def _agreed_batch_size(self) -> int:
        """Measure, then pin: the first measurement stands for all replicas and reruns of the job."""
        settings = self._settings
        store = open_store(settings.tuning_uri, settings.access)
        if not store.exists(settings.tuning_uri):
            rates = self._replica.measure()
            record = {
                "batch_size": choose_batch_size(rates),
                "images_per_s": rates,
                "precision": str(self._replica.dtype).removeprefix("torch."),
            }
            store.create(settings.tuning_uri, json.dumps(record).encode(), writer=settings.writer)
        return int(json.loads(store.read(settings.tuning_uri))["batch_size"])


def inference_device(*, on_gpu: bool) -> torch.device:
    """Where this process computes: on the CPU too where its node's GPUs are logical."""
    return torch.device("cuda" if on_gpu and LOGICAL_GPUS_VARIABLE not in os.environ else "cpu")


def _failure(error: Exception) -> Failure:
    if isinstance(error, torch.OutOfMemoryError):
        return Failure("out_of_memory", f"one image does not fit on the device: {error}")
    return Failure("unexpected", f"{type(error).__name__}: {error}")


def _memory(device: torch.device) -> dict[str, int]:
    """Bytes of a GPU by kind, as `veedor_gpu_memory_bytes` has them; empty on a CPU."""
    if device.type != "cuda":
        return {}
    return {
        "allocated": torch.cuda.memory_allocated(device),
        "peak": torch.cuda.max_memory_allocated(device),
        "total": torch.cuda.get_device_properties(device).total_memory,
    }
