"""The literal catalogue of jobs: adding one is its module and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cvcore.errors import SpecError, did_you_mean
from jobs.annotate import run_annotate
from jobs.embed import EmbedSpec, run_embed, to_embed
from jobs.outcome import RunResult
from jobs.prepare import Purpose, to_detect
from jobs.restore import CompressSpec, DenoiseSpec, run_compress, run_denoise, to_code, to_restore
from jobs.scan import run_scan
from jobs.scan_spec import ScanSpec
from jobs.spec import AnnotateSpec, PipelineSpec
from jobs.track import run_track
from jobs.track_spec import TrackSpec


@dataclass(frozen=True)
class JobEntry:
    """A job: its spec, what runs it, and what a dry run of it would run a model for."""

    spec: type[PipelineSpec] | type[TrackSpec]
    run: Callable[..., RunResult]
    purpose: Callable[[Any], Purpose] | None = None


JOBS: dict[str, JobEntry] = {
    "annotate": JobEntry(AnnotateSpec, run_annotate, to_detect),
    "track": JobEntry(TrackSpec, run_track),
    "scan": JobEntry(ScanSpec, run_scan),
    "embed": JobEntry(EmbedSpec, run_embed, to_embed),
    "denoise": JobEntry(DenoiseSpec, run_denoise, to_restore),
    "compress": JobEntry(CompressSpec, run_compress, to_code),
}


def find_job(content: dict[str, Any]) -> JobEntry:
    """The job that a spec's content names; `annotate` where it names none.

    Raises:
        SpecError: for an unknown job.
    """
    name = content.get("job", "annotate")
    if name not in JOBS:
        hint = did_you_mean(str(name), JOBS)
        raise SpecError(f"there is no job {name!r}.{hint} Jobs: {', '.join(sorted(JOBS))}.")
    return JOBS[name]
