"""What runs a schedule's job: an interface, and the implementation that does it in this process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cluster.exits import EXIT_FAILED, EXIT_USAGE
from cluster.schedules.records import Report


@dataclass(frozen=True)
class Work:
    """A job to run, for one run of a schedule.

    Attributes:
        schedule: its name.
        run, attempt: numbers; every attempt at a run has the same job to do.
        content: the job's spec, with the tick's date filled in.
        alert_env: environment variable with the address that a scan tells of anomalies.
    """

    schedule: str
    run: int
    attempt: int
    content: Mapping[str, Any]
    alert_env: str | None = None


class Runner(Protocol):
    """Runs jobs to their end.

    The same work may be run again, also while a first run of it goes on whose process was taken for dead:
    that must come to the same, as it does by the jobs' own commit protocol.
    """

    def run(self, work: Work) -> Report:
        """Return when the job is over, however it ended; KeyboardInterrupt where this process is asked to."""


class LocalRunner:
    """Runs jobs in this process, as `veedor run` does.

    Args:
        address: Ray cluster to join; None means RAY_ADDRESS, else an embedded one.
    """

    def __init__(self, *, address: str | None, as_json: bool, verbose: bool) -> None:
        self._address = address
        self._as_json = as_json
        self._verbose = verbose

    def run(self, work: Work) -> Report:
        from cluster.job_ending import end_content

        more: dict[str, Any] = {}
        if work.alert_env is not None and work.content.get("job") == "scan":
            from jobs.alerts import AlertSettings

            webhook = os.environ.get(work.alert_env)
            if not webhook:
                return Report(
                    exit_code=EXIT_USAGE,
                    error=f"the environment variable {work.alert_env} is not set: it has the address that "
                    "the scans of this schedule tell of anomalies",
                )
            more["alerts"] = AlertSettings(webhook)
        ending = end_content(
            dict(work.content),
            name=f"the schedule {work.schedule!r}",
            address=self._address,
            as_json=self._as_json,
            verbose=self._verbose,
            **more,
        )
        return report_of(ending.exit_code, ending.error, ending.result)


def report_of(exit_code: int, error: str | None, result: Any) -> Report:
    """A job's ending as records keep it. An alert that did not arrive fails a scan: its next try sends it."""
    if result is None:
        return Report(exit_code=exit_code, error=error)
    scan = result.manifest.get("scan")
    problems = scan["alert_problems"] if scan else []
    return Report(
        exit_code=EXIT_FAILED if problems else exit_code,
        uri=result.uri,
        counts=result.manifest["counts"],
        failures=result.manifest.get("failures", {}),
        scan=scan,
        error="; ".join(problems) or error,
    )
