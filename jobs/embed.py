"""The embed job: a vector for every image and frame, into Parquet."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Literal

from cvcore.errors import ModelError
from jobs.model_facts import ModelFacts
from jobs.outcome import RunResult
from jobs.progress import Listener
from jobs.purpose import Purpose
from jobs.run_job import run_job
from jobs.spec import ExactSpec
from jobs.stages.tasks import EmbedTask, Task


class EmbedSpec(ExactSpec):
    """Give every image, and every frame of every video, below a location a vector."""

    job: Literal["embed"] = "embed"


def run_embed(
    spec: EmbedSpec,
    *,
    listener: Listener,
    address: str | None = None,
    verbose: bool = False,
    sessions: ExitStack | None = None,
) -> RunResult:
    """`jobs.run_job.run_job`, to embed."""
    return run_job(
        spec, to_embed(spec), listener=listener, address=address, verbose=verbose, sessions=sessions
    )


def to_embed(spec: EmbedSpec) -> Purpose:
    """The purpose of an embed job."""

    def task(facts: ModelFacts) -> Task:
        if facts.embedding_size is None:
            raise ModelError(f"{spec.model.name} gives no embeddings: use a trained autoencoder or patchcore")
        return EmbedTask()

    return Purpose(task)
