"""What a job on a cluster has come to: from Ray's record of it and the end of its log."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cluster.events import Event, parse_event
from cluster.remote.connect import Cluster, lost_is_failed
from cluster.remote.identity import ACTIVE, parse_submission_id
from cvcore.errors import SpecError, did_you_mean
from jobs.outcome import JobFailed

if TYPE_CHECKING:
    from ray.job_submission import JobDetails

TAIL_LINES = 200
MAX_SUGGESTED = 5


@dataclass(frozen=True)
class JobReport:
    """A job on a cluster.

    Attributes:
        job, sink: what it does, and where its results are; empty for what others submitted.
        status: Ray's.
        started_at, ended_at: None where that has not happened.
        exit_code: of the driver, once it ended.
        message: Ray's, of what failed.
        events: the last of each kind that the driver printed, by kind.
    """

    submission_id: str
    job: str
    sink: str
    attempt: int
    status: str
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: int | None
    message: str
    events: dict[str, Event]

    @property
    def is_active(self) -> bool:
        return self.status in ACTIVE

    @property
    def remaining_s(self) -> float | None:
        """Estimated seconds until all rows are written; None while nobody can tell."""
        progress = self.events.get("progress")
        remaining: float | None = progress["stages"]["write"]["remaining_s"] if progress else None
        return remaining if self.is_active else None


def report_of(details: JobDetails, log_end: Iterable[str] = ()) -> JobReport:
    """A report from Ray's record and the last lines of the log."""
    submission_id = details.submission_id or details.job_id or ""
    known = parse_submission_id(submission_id)
    metadata = details.metadata or {}
    return JobReport(
        submission_id=submission_id,
        job=metadata.get("veedor_job", ""),
        sink=metadata.get("veedor_sink", ""),
        attempt=known[1] if known else 1,
        status=details.status.value,
        started_at=_moment(details.start_time),
        ended_at=_moment(details.end_time),
        exit_code=details.driver_exit_code,
        message=details.message or "",
        events={event["event"]: event for event in map(parse_event, log_end) if event is not None},
    )


def list_jobs(cluster: Cluster, *, all_jobs: bool = False) -> list[JobReport]:
    """The cluster's submitted jobs, the newest first; those that veedor submitted, unless `all_jobs`."""
    with lost_is_failed(cluster.url):
        found = [report_of(details) for details in cluster.client.list_jobs() if details.submission_id]
    chosen = [report for report in found if all_jobs or parse_submission_id(report.submission_id)]
    earliest = datetime.min.replace(tzinfo=UTC)
    return sorted(chosen, key=lambda report: report.started_at or earliest, reverse=True)


def find_job(cluster: Cluster, name: str) -> str:
    """The submission id that a user means: the whole of it, or a part that no other job has.

    Raises:
        SpecError: if there is none, or more than one.
    """
    ids = [report.submission_id for report in list_jobs(cluster, all_jobs=True)]
    if name in ids:
        return name
    matching = [each for each in ids if name and name in each]
    if len(matching) == 1:
        return matching[0]
    if matching:
        shown = ", ".join(matching[:MAX_SUGGESTED])
        raise SpecError(f"{name!r} may mean several jobs at {cluster.url}: {shown}. Write more of it")
    hint = did_you_mean(name, ids)
    there = f"{hint} veedor list shows them" if ids else " It has run none"
    raise SpecError(f"there is no job {name!r} on the cluster at {cluster.url}.{there}.")


def read_report(cluster: Cluster, submission_id: str) -> JobReport:
    """The report of one job, with the end of its log."""
    with lost_is_failed(cluster.url):
        details = cluster.client.get_job_info(submission_id)
    return report_of(details, _log_end(cluster, submission_id, details.driver_node_id))


def _log_end(cluster: Cluster, submission_id: str, node_id: str | None) -> list[str]:
    """The last lines of a job's log, without the rest of it; none before the driver started."""
    if node_id is None:
        return []
    try:
        answer = cluster.get(
            "/api/v0/logs/file",
            node_id=node_id,
            filename=f"job-driver-{submission_id}.log",
            lines=TAIL_LINES,
        )
        text = answer.text
    except JobFailed:  # its node is gone, or the log: what Ray itself knows stands
        return []
    return text.splitlines()


def as_json(report: JobReport) -> str:
    """A report as one JSON object."""
    content: dict[str, Any] = {
        "submission_id": report.submission_id,
        "job": report.job,
        "sink": report.sink,
        "attempt": report.attempt,
        "status": report.status,
        "started_at": _iso(report.started_at),
        "ended_at": _iso(report.ended_at),
        "exit_code": report.exit_code,
        "remaining_s": report.remaining_s,
    }
    for kind in ("progress", "result", "error"):
        if event := report.events.get(kind):
            content[kind] = {key: value for key, value in event.items() if key != "event"}
    return json.dumps(content)


def _moment(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
