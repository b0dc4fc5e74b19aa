"""When a schedule is due: pure functions of a cron line, a zone and instants."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from cluster.schedules.cron import Cron
from cluster.schedules.zones import instant_of


def instants_after(cron: Cron, zone: ZoneInfo, since: datetime) -> Iterator[datetime]:
    """Every instant after `since` at which the line fires, in UTC and in order, without end.

    Each local time that the line names fires once: where clocks skip it, when they do; where they show it
    twice, the first time. Times that come to the same instant are one.
    """
    last = since.astimezone(UTC)
    # A local time that is yet to come is later than what clocks show now: the first to show it is to come.
    for local in cron.after(since.astimezone(zone)):
        instant = instant_of(local, zone)
        if instant > last:
            last = instant
            yield instant


def due(cron: Cron, zone: ZoneInfo, since: datetime, now: datetime) -> list[datetime]:
    """The instants after `since` until `now`, both included at their end: `since < instant <= now`."""
    return list(takewhile(lambda instant: instant <= now, instants_after(cron, zone, since)))


def next_instants(cron: Cron, zone: ZoneInfo, since: datetime, count: int) -> list[datetime]:
    """The next `count` instants after `since`; fewer where the line names no more."""
    return list(islice(instants_after(cron, zone, since), count))
