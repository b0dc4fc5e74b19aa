"""What an inference actor is told. Free of torch, which the driver never imports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cvcore.types import DetectOptions
from jobs.board import Tally
from jobs.stages.guard import InputBounds
from jobs.storage import Access

Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class InferSettings:
    """What an inference actor needs besides the model.

    Attributes:
        tuning_uri: where the job's measured batch size is pinned, so that replicas and reruns agree.
    """

    options: DetectOptions
    precision: Precision
    batch_size: int | None
    threads: int
    on_gpu: bool
    tuning_uri: str
    access: Access
    writer: str
    tally: Tally
    bounds: InputBounds
