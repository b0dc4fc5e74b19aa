"""The annotate job: every image and frame below a location through a model, into Parquet."""

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
    maps: bool = False,
) -> RunResult:
    """`jobs.run_job.run_job`, to annotate; with `maps`, only by a segmenter."""
    purpose = to_annotate(spec, maps=maps)
    return run_job(spec, purpose, listener=listener, address=address, verbose=verbose, sessions=sessions)
