"""Cron lines: which local times they name.

CronSim reads them, as Debian's cron does. It is asked for times on a clock face, without a zone: what a
change of clocks does to them is decided in `zones`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from cronsim import CronSim, CronSimError

from cvcore.errors import SpecError

FORMS = "*, a value, a-b, lists a,b and steps */n or a-b/n"
FIELDS = {
    "minute": f"0 to 59; as {FORMS}",
    "hour": f"0 to 23; as {FORMS}",
    "day of month": f"1 to 31, L for the last, LW for the last working day; as {FORMS}",
    "month": f"1 to 12 or JAN to DEC; as {FORMS}",
    "day of week": "0 to 7 (0 and 7 are Sunday) or SUN to SAT, MON#2 for the second Monday, 5L for the last "
    f"Friday of a month; as {FORMS}",
}
EXAMPLE = "'0 2 * * *' is every day at two, '*/15 6-22 * * 1-5' each quarter of an hour on working days"
MAX_CHARS = 200
_ANY_TIME = datetime(2024, 1, 1)


@dataclass(frozen=True)
class Cron:
    """A cron line of five fields.

    Raises:
        SpecError: if it is none, naming the field, or if it names no time at all.
    """

    line: str

    def __post_init__(self) -> None:
        values = self.line.split()
        if len(self.line) > MAX_CHARS or len(values) != len(FIELDS):
            raise SpecError(
                f"the cron line {self.line[:MAX_CHARS]!r} has {len(values)} "
                f"field{'s' * (len(values) != 1)}, not the five: {', '.join(FIELDS)}. {EXAMPLE}."
            )
        for place, (name, value) in enumerate(zip(FIELDS, values, strict=True)):
            alone = ["*"] * len(FIELDS)
            alone[place] = value
            try:
                CronSim(" ".join(alone), _ANY_TIME)
            except CronSimError as error:
                raise SpecError(
                    f"the cron line {self.line!r}: {value!r} is no {name}. Allowed: {FIELDS[name]}."
                ) from error
        try:
            found = next(self.after(_ANY_TIME), None)
        except CronSimError:
            found = None
        if found is None:
            raise SpecError(f"the cron line {self.line!r} names a day that never comes: it would never fire")

    def after(self, local: datetime) -> Iterator[datetime]:
        """Every time on the clock face after `local`, without a zone, in order."""
        return iter(CronSim(self.line, local.replace(tzinfo=None)))

    def in_words(self) -> str:
        """The line, said in English."""
        return CronSim(self.line, _ANY_TIME).explain()
