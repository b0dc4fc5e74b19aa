"""The changes of schedules, as objects that are created and never changed.

<store>/schedules/changes/NAME.000001.json, NAME.000002.json, …: each holds the whole schedule as it is after
that change. Who makes a change creates the next number; who comes second is refused, reads what the first one
made, and makes his change of that. So of two people none loses the other's.
"""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Callable
from datetime import datetime

from pydantic import ValidationError

from cluster.schedules.schedule import Change, ChangeKind, Schedule
from cvcore.errors import SpecError, VeedorError, did_you_mean
from jobs.run_folder import new_writer
from jobs.storage import StorageError, Store, join

MAX_RACES = 20
_NAME = re.compile(r"^(.+)\.(\d{6,})\.json$")

Alter = Callable[[Change | None, int], Schedule | None]
"""From the last change, and the number that the next one would have, to the schedule after it; None if there
is nothing to change."""


class UnreadableSchedule(VeedorError):
    """A schedule that this version cannot read."""


class Book:
    """All schedules of a store."""

    def __init__(self, root: str, store: Store) -> None:
        self._folder = join(root, "schedules", "changes")
        self._store = store

    def names(self) -> dict[str, int]:
        """The number of the last change of each name, removed ones too, sorted by name."""
        last: dict[str, int] = {}
        for name in self._store.list_names(self._folder):
            if found := _NAME.match(name):
                last[found[1]] = max(last.get(found[1], 0), int(found[2]))
        return dict(sorted(last.items()))

    def read(self, name: str, number: int) -> Change:
        """One change.

        Raises:
            UnreadableSchedule: if this version does not understand it.
        """
        uri = self._uri(name, number)
        try:
            return Change.model_validate_json(self._store.read(uri))
        except (ValidationError, SpecError) as error:
            raise UnreadableSchedule(
                f"{uri} cannot be read by this version ({str(error).splitlines()[0]}): it was altered, or "
                "made by another version of veedor"
            ) from error

    def last(self, name: str) -> Change | None:
        """What a schedule is now; None for a name that never was one."""
        number = self.names().get(name)
        return None if number is None else self.read(name, number)

    def find(self, name: str, *, removed: bool = False) -> Change:
        """The same, for a name that has to be one; raises `SpecError` if it is none, or is removed."""
        names = self.names()
        if name not in names:
            known = ", ".join(names) or "none"
            raise SpecError(f"there is no schedule {name!r}.{did_you_mean(name, names)} Schedules: {known}.")
        change = self.read(name, names[name])
        if change.schedule.removed and not removed:
            raise SpecError(
                f"the schedule {name!r} was removed by {change.by} at {change.at:%Y-%m-%d %H:%M} UTC"
            )
        return change

    def change(self, name: str, kind: ChangeKind, alter: Alter, *, at: datetime) -> Change | None:
        """Make a change, of what others have made of the schedule until then.

        Returns:
            The change; None if there was nothing to change.

        Raises:
            SpecError: what `alter` raises.
        """
        for _ in range(MAX_RACES):
            before = self.last(name)
            number = before.number + 1 if before else 1
            schedule = alter(before, number)
            if schedule is None:
                return None
            made = Change(number=number, kind=kind, by=whoami(), at=at, schedule=schedule)
            body = made.model_dump_json(indent=1).encode()
            if self._store.create(self._uri(name, number), body, writer=new_writer()) != "exists":
                return made
        raise StorageError(
            f"the schedule {name!r} was changed by others {MAX_RACES} times in a row: try again"
        )

    def _uri(self, name: str, number: int) -> str:
        return join(self._folder, f"{name}.{number:06d}.json")


def whoami() -> str:
    """This user and machine, as records name them."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
