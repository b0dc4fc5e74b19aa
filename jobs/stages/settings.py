"""What an inference actor is told. Free of torch, which the driver never imports."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.board import Tally
from jobs.spec import Precision
from jobs.stages.guard import InputBounds
from jobs.stages.tasks import Task
from jobs.storage import Access


@dataclass(frozen=True)
class InferSettings:
    """What an inference actor needs besides the model.

    Attributes:
        task: what the model is to do.
        tuning_uri: where the job's measured batch size is pinned, so that replicas and reruns agree.
    """

    task: Task
    precision: Precision
    batch_size: int | None
    threads: int
    on_gpu: bool
    tuning_uri: str
    access: Access
    writer: str
    tally: Tally
    bounds: InputBounds
