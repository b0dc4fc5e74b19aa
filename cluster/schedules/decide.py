"""What is to be done about a schedule now: a pure function of what stands in the store and its time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cluster.schedules.changes import backfill_instants
from cluster.schedules.records import Due, Outcome, Progress
from cluster.schedules.runs import RunState
from cluster.schedules.schedule import Schedule


@dataclass(frozen=True)
class Timing:
    """How long is waited.

    Attributes:
        lease_s: without a sign of life, until a process counts as dead.
        renew_s: between signs of life; several have to fail before a lease is over.
        retry_after_s: from an attempt that failed to the next.
    """

    lease_s: float = 180.0
    renew_s: float = 30.0
    retry_after_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.renew_s <= self.lease_s / 2:
            raise ValueError(
                f"renew_s = {self.renew_s:g} must be in (0, {self.lease_s / 2:g}], half the lease"
            )


@dataclass(frozen=True)
class Idle:
    """Nothing is to be done; `until` says when something is due next, where that is known."""

    why: str
    until: datetime | None = None


@dataclass(frozen=True)
class Held:
    """Somebody who gives signs of life is at it, or who may have died too short a time ago."""

    why: str


@dataclass(frozen=True)
class Attempt:
    """Claim this, and run it."""

    number: int
    attempt: int
    failures: int
    due: Due
    progress: Progress


@dataclass(frozen=True)
class Close:
    """Note what a run came to that nobody goes on with."""

    outcome: Outcome


Step = Idle | Held | Attempt | Close


def decide(schedule: Schedule, last: RunState | None, now: datetime, timing: Timing) -> Step:
    """The next step for a schedule whose last run stands so."""
    if last is not None and not last.done:
        return _go_on(schedule, last, now, timing)
    if schedule.removed or schedule.paused:
        return Idle("removed" if schedule.removed else "paused")
    progress = last.claim.progress if last else Progress()
    found = _next_due(schedule, progress, now)
    if found is None:
        upcoming = schedule.upcoming(_since(schedule, progress))
        return Idle("not due", upcoming[0] if upcoming else None)
    due, after = found
    return Attempt(last.claim.number + 1 if last else 1, 1, 0, due, after)


def _go_on(schedule: Schedule, last: RunState, now: datetime, timing: Timing) -> Step:
    """About a run that is not done."""
    claim = last.claim
    if last.ended is None and now - last.seen_at <= timedelta(seconds=timing.lease_s):
        return Held(f"run {claim.number} is with {claim.holder}")
    if schedule.removed or schedule.paused:
        return Idle("removed" if schedule.removed else "paused")
    if claim.definition != schedule.definition:
        return Close("superseded")
    interrupted = last.ended is not None and last.ended.outcome == "interrupted"
    failures = claim.failures + (not interrupted)
    if failures >= schedule.max_attempts:
        return Close("given up")
    if last.ended is not None and not interrupted:
        again = last.ended.at + timedelta(seconds=timing.retry_after_s)
        if now < again:
            return Held(f"run {claim.number} failed and is tried again from {again:%H:%M:%S} UTC on")
    return Attempt(claim.number, claim.attempt + 1, failures, claim.due, claim.progress)


def _next_due(schedule: Schedule, progress: Progress, now: datetime) -> tuple[Due, Progress] | None:
    """The ticks that the next run is for, its own before those to make up for; None if there are none."""
    instants = schedule.due(_since(schedule, progress), now)
    if instants:
        taken = instants[:1] if schedule.runs_each else instants
        due = Due(kind="tick", first=taken[0], last=taken[-1], count=len(taken))
        return due, progress.model_copy(update={"until": taken[-1]})
    for backfill in schedule.backfills:
        if backfill.number < progress.backfill:
            continue
        begun = backfill.number == progress.backfill
        instants = backfill_instants(schedule, backfill, after=progress.backfill_until if begun else None)
        if instants:
            taken = instants[:1] if schedule.runs_each else instants
            due = Due(kind="backfill", first=taken[0], last=taken[-1], count=len(taken))
            update = {"backfill": backfill.number, "backfill_until": taken[-1]}
            return due, progress.model_copy(update=update)
    return None


def _since(schedule: Schedule, progress: Progress) -> datetime:
    """After when instants are due: none has two runs, and none is of before the schedule was."""
    return max(schedule.since, progress.until) if progress.until else schedule.since
