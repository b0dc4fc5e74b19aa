"""What each change makes of a schedule: pure functions from what it was to what it is."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from cluster.schedules.schedule import Backfill, Change, Schedule
from cvcore.errors import SpecError

MAX_BACKFILL = 10_000
_MOMENT = timedelta(microseconds=1)


def added(
    before: Change | None,
    number: int,
    *,
    replace: bool,
    seen: int | None,
    now: datetime,
    **content: Any,
) -> Schedule | None:
    """A new schedule, or a new definition of one that is there, which stays paused if it was.

    None for the definition that is there: it may be given again and again, by what deploys it.

    Args:
        before: its last change, if there is one.
        number: of this change.
        replace: whether there may be one.
        seen: number of the change that the person who replaces it could know; None if there was none.
        now: from when on its ticks are due.
        content: `name`, `cron`, `timezone`, `spec` and what else a schedule has.

    Raises:
        SpecError: if there is a schedule of the name, or another one than was seen.
    """
    standing = before is not None and not before.schedule.removed
    if before is not None and standing and not replace:
        raise SpecError(
            f"there is a schedule {before.schedule.name!r} already ({before.schedule.cron!r} in "
            f"{before.schedule.timezone}; last changed by {before.by} at {before.at:%Y-%m-%d %H:%M} UTC). "
            "Name this one otherwise with --name, or put it in that one's place with --replace: its history "
            "stays"
        )
    if (
        before is not None
        and standing
        and all(getattr(before.schedule, key) == value for key, value in content.items())
    ):
        return None
    if (before.number if before else None) != seen:
        who = f"{before.by} ({before.kind})" if before else "nobody"
        raise SpecError(
            f"the schedule {content['name']!r} was changed meanwhile by {who}: look, then try again"
        )
    paused = bool(before and standing and before.schedule.paused)
    return Schedule(**content, definition=number, since=now, paused=paused)


def paused(before: Change | None, number: int) -> Schedule | None:
    """No tick is due from now on; None if it is paused."""
    del number
    schedule = _present(before)
    return None if schedule.paused else schedule.model_copy(update={"paused": True})


def resumed(before: Change | None, number: int, *, now: datetime) -> Schedule | None:
    """Ticks after now are due; None if it is not paused."""
    del number
    schedule = _present(before)
    return schedule.model_copy(update={"paused": False, "since": now}) if schedule.paused else None


def removed(before: Change | None, number: int) -> Schedule:
    """Nothing is due any more, and the name is free."""
    del number
    return _present(before).model_copy(update={"removed": True, "backfills": ()})


def backfilled(
    before: Change | None, number: int, *, first: datetime, last: datetime, now: datetime
) -> Schedule:
    """Also run what was due from `first` to `last`, both included.

    Raises:
        SpecError: if that is no time, none that is over, or more than `MAX_BACKFILL` ticks.
    """
    schedule = _present(before)
    if first > last:
        raise SpecError(f"--from {first.isoformat()} is after --to {last.isoformat()}")
    if last > now:
        raise SpecError(f"--to {last.isoformat()} is not over: what is to come is not made up for")
    asked = Backfill(number=number, first=first, last=last)
    count = len(backfill_instants(schedule, asked))
    if not count:
        raise SpecError(
            f"{schedule.cron!r} in {schedule.timezone} names no time from {first.isoformat()} to "
            f"{last.isoformat()}: there is nothing to make up for"
        )
    if count > MAX_BACKFILL:
        raise SpecError(f"{count:,} ticks are more than {MAX_BACKFILL:,}: name a shorter time")
    return schedule.model_copy(update={"backfills": (*schedule.backfills, asked)})


def backfill_instants(
    schedule: Schedule, backfill: Backfill, *, after: datetime | None = None
) -> list[datetime]:
    """The instants that a backfill asks for, or those of them after one."""
    since = backfill.first - _MOMENT
    return schedule.due(since if after is None else max(since, after), backfill.last)


def _present(before: Change | None) -> Schedule:
    assert before is not None, "who changes a schedule has found it"
    if before.schedule.removed:
        raise SpecError(f"the schedule {before.schedule.name!r} was removed by {before.by} meanwhile")
    return before.schedule
