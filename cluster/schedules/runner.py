"""What runs a schedule's job: an interface, and the implementation that does it in this process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cluster.exits import EXIT_FAILED, EXIT_USAGE
from cluster.schedules.records import Report
from cvcore.errors import SpecError
from jobs.outcome import RunResult


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

    @property
    def webhook(self) -> str | None:
        """Where to tell of anomalies; raises `SpecError` if it should be known here and is not."""
        if self.alert_env is None:
            return None
        webhook = os.environ.get(self.alert_env)
        if not webhook:
            raise SpecError(
                f"the environment variable {self.alert_env} is not set: it has the address that the scans of "
                "this schedule tell of anomalies"
            )
        return webhook

    def __str__(self) -> str:
        return f"the schedule {self.schedule!r}"


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
        from jobs.alerts import AlertSettings

        try:
            webhook = work.webhook
        except SpecError as error:
            return Report(exit_code=EXIT_USAGE, error=str(error))
        more: dict[str, Any] = {"alerts": AlertSettings(webhook)} if webhook else {}
        ending = end_content(
            dict(work.content),
            name=str(work),
            address=self._address,
            as_json=self._as_json,
            verbose=self._verbose,
            **more,
        )
        problems = alert_problems(ending.result)
        return report_of(ending.exit_code, ending.error, ending.result, problems)


def alert_problems(result: RunResult | None) -> list[str]:
    """What went wrong when a scan told of anomalies."""
    scan = result.manifest.get("scan") if result else None
    return list(scan["alert_problems"]) if scan else []


def report_of(exit_code: int, error: str | None, result: RunResult | None, problems: list[str]) -> Report:
    """A job's ending as records keep it. An alert that did not arrive fails a scan: its next try sends it."""
    if result is None:
        return Report(exit_code=exit_code, error=error)
    return Report(
        exit_code=EXIT_FAILED if problems else exit_code,
        uri=result.uri,
        counts=result.manifest["counts"],
        failures=result.manifest.get("failures", {}),
        scan=result.manifest.get("scan"),
        error="; ".join(problems) or error,
    )
