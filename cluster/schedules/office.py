"""What people do with the schedules of a store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from cluster.schedules import changes
from cluster.schedules.adding import check_ticks, keepable_spec
from cluster.schedules.book import Book, UnreadableSchedule
from cluster.schedules.clock import StoreClock, machine_time
from cluster.schedules.cron import Cron
from cluster.schedules.decide import Step, Timing, decide
from cluster.schedules.runs import RunHistory, Runs, UnreadableRun
from cluster.schedules.schedule import NAME_PATTERN, Change, Schedule
from cluster.schedules.tick import check_create_only
from cluster.schedules.times import parse_instant
from cluster.schedules.zones import find_zone
from cvcore.errors import SpecError
from jobs.storage import AccessRefused, Store

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Standing:
    """A schedule, and what is to be done about it now."""

    change: Change
    step: Step


class Office:
    """The schedules of a store, for who changes and reads them.

    Args:
        root: the store's location.
        store: it.
        clock: the store's.
    """

    def __init__(self, root: str, store: Store, *, clock: StoreClock | None = None) -> None:
        self.root = root
        self.store = store
        self.book = Book(root, store)
        self.clock = clock or StoreClock(root, store)

    def runs(self, name: str) -> Runs:
        return Runs(self.root, name, self.store)

    def add(
        self,
        content: Mapping[str, Any],
        *,
        file: str,
        name: str,
        cron: str,
        timezone: str,
        alert_env: str | None = None,
        max_attempts: int = 3,
        replace: bool = False,
    ) -> Change | None:
        """Add a schedule, or put it in the place of the one of its name; None where that is the same.

        Raises:
            SpecError: if name, line, zone or spec are wrong, there is one of the name, or the store
                overwrites what it should only create. Nothing is kept then.
        """
        if not re.match(NAME_PATTERN, name):
            raise SpecError(
                f"the name {name!r} is not allowed: it begins with a letter or digit, and has at most 63 "
                "letters, digits, '-' and '_' in all (--name gives another than the file's)"
            )
        Cron(cron)
        find_zone(timezone)
        spec = keepable_spec(content, name=file)
        _check_alert(alert_env, spec)
        before = self.book.last(name)
        check_create_only(self.root, self.store)
        now = self.clock.now()

        def alter(found: Change | None, number: int) -> Schedule | None:
            schedule = changes.added(
                found,
                number,
                replace=replace,
                seen=before.number if before else None,
                now=now,
                name=name,
                cron=cron,
                timezone=timezone,
                spec=spec,
                alert_env=alert_env,
                max_attempts=max_attempts,
            )
            if schedule is not None:
                check_ticks(schedule)
            return schedule

        standing = before is not None and not before.schedule.removed
        return self.book.change(name, "replace" if standing else "add", alter, at=now)

    def pause(self, name: str) -> Change | None:
        """Pause a schedule; None if it is."""
        self.book.find(name)
        return self.book.change(name, "pause", changes.paused, at=self.clock.now())

    def resume(self, name: str) -> Change | None:
        """Resume a schedule from now on; None if it is not paused."""
        self.book.find(name)
        now = self.clock.now()
        return self.book.change(name, "resume", partial(changes.resumed, now=now), at=now)

    def remove(self, name: str) -> Change:
        """Remove a schedule."""
        self.book.find(name)
        change = self.book.change(name, "remove", changes.removed, at=self.clock.now())
        assert change is not None
        return change

    def backfill(self, name: str, since: str, until: str) -> tuple[Change, int]:
        """Ask for the ticks of a past time; returns how many runs that makes."""
        zone = self.book.find(name).schedule.zone
        now = self.clock.now()
        first = parse_instant(since, zone, option="--from")
        last = parse_instant(until, zone, option="--to", end=True)
        alter = partial(changes.backfilled, first=first, last=last, now=now)
        change = self.book.change(name, "backfill", alter, at=now)
        assert change is not None
        schedule = change.schedule
        count = len(changes.backfill_instants(schedule, schedule.backfills[-1])) if schedule.runs_each else 1
        return change, count

    def look(self) -> tuple[list[Standing], dict[str, str]]:
        """All schedules, removed ones too, by name; and of those that cannot be read, why."""
        found: list[Standing] = []
        problems: dict[str, str] = {}
        names = self.book.names()
        now = self.time_to_look() if names else machine_time()
        for name, number in names.items():
            try:
                change = self.book.read(name, number)
                step = decide(change.schedule, self.runs(name).last(), now, Timing())
                found.append(Standing(change, step))
            except (UnreadableSchedule, UnreadableRun) as error:
                problems[name] = str(error)
        return found, problems

    def time_to_look(self) -> datetime:
        """The store's time; this machine's for who may read there and not write."""
        try:
            return self.clock.now()
        except AccessRefused:
            return machine_time()

    def last_run(self, name: str) -> RunHistory | None:
        """What is known of a schedule's last run."""
        return next(self.runs(name).history(), None)


def _check_alert(alert_env: str | None, spec: Mapping[str, Any]) -> None:
    if alert_env is None:
        return
    if spec["job"] != "scan":
        raise SpecError(f"--alert-env is of scans, which find anomalies; this is a job {spec['job']!r}")
    if not _VARIABLE.fullmatch(alert_env):
        raise SpecError(
            "--alert-env names an environment variable, such as LINE3_WEBHOOK, that holds the address where "
            "ticks run: the address itself is often a secret, and is kept nowhere"
        )
