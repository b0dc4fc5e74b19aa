"""The literal catalogue of jobs: adding one is its module and an entry here.

Specs and functions are named, and imported when a job is found: no job pays for what another needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cvcore.catalog import resolve
from cvcore.errors import SpecError, did_you_mean

if TYPE_CHECKING:
    from jobs.outcome import RunResult
    from jobs.purpose import Purpose
    from jobs.spec import PipelineSpec
    from jobs.track_spec import TrackSpec


@dataclass(frozen=True)
class JobEntry:
    """A job, by `module:name`.

    Attributes:
        spec_name: its spec's type.
        run_name: the function that runs it.
        purpose_name: from its spec to what a dry run would run a model for; None where dry runs differ.
    """

    spec_name: str
    run_name: str
    purpose_name: str | None = None

    @property
    def spec(self) -> type[PipelineSpec] | type[TrackSpec]:
        found: Any = resolve(self.spec_name)
        kind: type[PipelineSpec] | type[TrackSpec] = found
        return kind

    @property
    def run(self) -> Callable[..., RunResult]:
        return resolve(self.run_name)

    @property
    def purpose(self) -> Callable[[Any], Purpose] | None:
        return None if self.purpose_name is None else resolve(self.purpose_name)


JOBS: dict[str, JobEntry] = {
    "annotate": JobEntry("jobs.spec:AnnotateSpec", "jobs.annotate:run_annotate", "jobs.purpose:to_annotate"),
    "track": JobEntry("jobs.track_spec:TrackSpec", "jobs.track:run_track"),
    "scan": JobEntry("jobs.scan_spec:ScanSpec", "jobs.scan:run_scan"),
    "embed": JobEntry("jobs.embed:EmbedSpec", "jobs.embed:run_embed", "jobs.embed:to_embed"),
    "propose": JobEntry("jobs.propose:ProposeSpec", "jobs.propose:run_propose", "jobs.propose:to_propose"),
    "denoise": JobEntry("jobs.denoise:DenoiseSpec", "jobs.denoise:run_denoise", "jobs.denoise:to_restore"),
    "compress": JobEntry("jobs.compress:CompressSpec", "jobs.compress:run_compress", "jobs.compress:to_code"),
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
