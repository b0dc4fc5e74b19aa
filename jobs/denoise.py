"""The denoise job: images through an autoencoder that was trained to take noise away."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from jobs.model_facts import ModelFacts, check_reconstructs
from jobs.outcome import RunResult
from jobs.progress import Listener
from jobs.purpose import Purpose
from jobs.run_folder import RunFolder
from jobs.run_job import run_job
from jobs.run_rows import iter_tables
from jobs.spec import ExactSpec
from jobs.stages.tasks import RestoreTask, Task
from jobs.storage import Access, open_store, resolve_location

FIGURES = ("psnr_before", "psnr_after", "ssim_before", "ssim_after")


class DenoiseSpec(ExactSpec):
    """Send images through a denoising autoencoder.

    `noise` (standard deviation, 0 to 1 gray) is added before, to measure how much of it is taken away again.
    """

    job: Literal["denoise"] = "denoise"
    noise: Annotated[float, Field(ge=0, le=1)] = 0.0


def run_denoise(
    spec: DenoiseSpec,
    *,
    listener: Listener,
    address: str | None = None,
    verbose: bool = False,
    sessions: ExitStack | None = None,
) -> RunResult:
    """`jobs.run_job.run_job`, to restore."""
    return run_job(
        spec, to_restore(spec), listener=listener, address=address, verbose=verbose, sessions=sessions
    )


def to_restore(spec: DenoiseSpec) -> Purpose:
    """The purpose of a denoise job."""

    def task(facts: ModelFacts) -> Task:
        check_reconstructs(facts, spec.model.name)
        return RestoreTask(spec.noise)

    return Purpose(task)


def noise_figures(run_uri: str, *, access: Access) -> dict[str, float]:
    """Means of `FIGURES` over a run's rows; empty where no noise was added."""
    folder = RunFolder(resolve_location(run_uri).rstrip("/"))
    table = pa.concat_tables(iter_tables(folder, open_store(folder.uri, access), FIGURES))
    means = {name: pc.mean(table.column(name)).as_py() for name in FIGURES}
    return {} if None in means.values() else means
