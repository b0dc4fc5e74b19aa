"""What a schedule is, after each of its changes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, Field

from cluster.schedules.cron import Cron
from cluster.schedules.due import due, next_instants
from cluster.schedules.placeholders import names_tick
from cluster.schedules.zones import find_zone
from jobs.spec import Section

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
FORMAT: Final = 1

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
ChangeKind = Literal["add", "replace", "pause", "resume", "remove", "backfill"]


def _checked_line(line: str) -> str:
    return Cron(line).line


def _checked_zone(name: str) -> str:
    return find_zone(name).key


class Backfill(Section):
    """Past instants that were asked for: from `first` to `last`, both included.

    Attributes:
        number: of the change that asked.
    """

    number: Annotated[int, Field(ge=1)]
    first: AwareDatetime
    last: AwareDatetime


class Schedule(Section):
    """A job and when it runs.

    Attributes:
        spec: the job's, whole, with places for the tick's date where it names one; see `placeholders`.
        alert_env: environment variable with the address that scans tell of anomalies.
        max_attempts: how often a run may fail, or end its process, before it counts as failed.
        definition: number of the change that added or replaced it: what runs by another is not continued.
        since: instants up to it are not due: when it was added, replaced or resumed.
    """

    name: Name
    cron: Annotated[str, AfterValidator(_checked_line)]
    timezone: Annotated[str, AfterValidator(_checked_zone)]
    spec: dict[str, Any]
    alert_env: str | None = None
    max_attempts: Annotated[int, Field(ge=1)] = 3
    definition: Annotated[int, Field(ge=1)]
    since: AwareDatetime
    paused: bool = False
    removed: bool = False
    backfills: tuple[Backfill, ...] = ()

    @property
    def zone(self) -> ZoneInfo:
        return find_zone(self.timezone)

    @property
    def runs_each(self) -> bool:
        """Whether each tick has a run of its own, as what is read depends on it; else missed ones share."""
        return names_tick(self.spec)

    def due(self, since: datetime, now: datetime) -> list[datetime]:
        """The instants after `since` until `now`."""
        return due(Cron(self.cron), self.zone, since, now)

    def upcoming(self, after: datetime, count: int = 1) -> list[datetime]:
        """The next instants."""
        return next_instants(Cron(self.cron), self.zone, after, count)


class Change(Section):
    """One change of a schedule, and what the schedule is after it.

    Attributes:
        number: from 1 for each name, without gaps.
        by: who made it, as user@machine.
        at: when, by the store's clock.
    """

    format: Literal[1] = FORMAT
    number: Annotated[int, Field(ge=1)]
    kind: ChangeKind
    by: str
    at: AwareDatetime
    schedule: Schedule
