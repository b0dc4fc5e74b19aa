"""What is known of a schedule's runs, for people and machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cluster.schedules.records import Claim, Ended, Report, lag_s
from cluster.schedules.runs import RunHistory


@dataclass(frozen=True)
class AttemptView:
    """One attempt: by whom, when, and how it ended as far as it said so."""

    number: int
    by: str
    claimed_at: str
    outcome: str
    exit_code: int | None
    error: str | None


def state_of(run: RunHistory) -> str:
    """What a run came to, or where it stands: at work, or waiting for its next attempt."""
    if run.record is not None:
        return run.record.outcome
    ended = run.ended.get(run.claims[-1].attempt)
    return f"{ended.outcome}, to be tried again" if ended else "at work"


def report_of(run: RunHistory) -> Report | None:
    """The last that was heard of what a run's job came to."""
    if run.record is not None:
        return run.record.report
    reports = [run.ended[attempt].report for attempt in sorted(run.ended)]
    return reports[-1] if reports else None


def attempts_of(run: RunHistory) -> list[AttemptView]:
    """A run's attempts in order."""
    return [_attempt(run, claim) for claim in run.claims]


def run_content(run: RunHistory) -> dict[str, Any]:
    """All of a run, as JSON holds it."""
    last = run.claims[-1]
    record = run.record
    report = report_of(run)
    return {
        "run": last.number,
        "state": state_of(run),
        "kind": last.due.kind,
        "first_due": last.due.first.isoformat(),
        "last_due": last.due.last.isoformat(),
        "ticks": last.due.count,
        "claimed_at": run.claims[0].at.isoformat(),
        "lag_s": round(lag_s(run.claims[0]), 3),
        "ended_at": record.at.isoformat() if record else None,
        "exit_code": report.exit_code if report else None,
        "uri": report.uri if report else None,
        "counts": report.counts if report else None,
        "failures": report.failures if report else None,
        "scan": report.scan if report else None,
        "error": report.error if report else None,
        "attempts": [asdict(attempt) for attempt in attempts_of(run)],
    }


def _attempt(run: RunHistory, claim: Claim) -> AttemptView:
    ended: Ended | None = run.ended.get(claim.attempt)
    record = run.record
    outcome: str
    report: Report | None = None
    if ended is not None:
        outcome, report = ended.outcome, ended.report
    elif record is not None and record.attempt == claim.attempt:
        outcome, report = record.outcome, record.report
    else:
        # Nothing was heard of it: it is at work where it is the last, and else was taken for dead.
        outcome = "at work" if claim is run.claims[-1] and record is None else "lost"
    return AttemptView(
        number=claim.attempt,
        by=str(claim.holder),
        claimed_at=claim.at.isoformat(),
        outcome=outcome,
        exit_code=report.exit_code if report else None,
        error=report.error if report else None,
    )
