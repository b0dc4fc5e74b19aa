"""The annotate job: every image and frame below a location through a detector or classifier, into Parquet."""

from __future__ import annotations

from contextlib import ExitStack

from jobs.outcome import RunResult
from jobs.progress import Listener
from jobs.purpose import to_annotate
from jobs.run_job import run_job
from jobs.spec import AnnotateSpec


def run_annotate(
    spec: AnnotateSpec,
    *,
    listener: Listener,
    address: str | None = None,
    verbose: bool = False,
    sessions: ExitStack | None = None,
) -> RunResult:
    """`jobs.run_job.run_job`, to annotate."""
    return run_job(
        spec, to_annotate(spec), listener=listener, address=address, verbose=verbose, sessions=sessions
    )
