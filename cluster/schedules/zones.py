"""Time zones: from a time on a clock face to an instant, whatever clocks are changed by."""

from __future__ import annotations

import difflib
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from cvcore.errors import SpecError

# Of one machine, or counting leap seconds: not what a name means to everybody.
_NOT_SHARED = ("localtime", "posixrules", "Factory", "right/", "posix/")
SECOND = timedelta(seconds=1)
NUM_NEAR = 3


def find_zone(name: str) -> ZoneInfo:
    """The zone of a name in the IANA database.

    Raises:
        SpecError: for an unknown one, with those whose names are near.
    """
    try:
        if not name.startswith(_NOT_SHARED):
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass
    near = _near(name)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise SpecError(
        f"there is no time zone {name!r}.{hint} Names are those of the IANA database: Europe/Madrid, "
        "America/Sao_Paulo, UTC."
    )


def _near(name: str) -> list[str]:
    """Names that are like it, or whose last part is."""
    zones = sorted(zone for zone in available_timezones() if not zone.startswith(_NOT_SHARED))
    by_text = {zone.casefold(): zone for zone in zones}
    by_city = {zone.rpartition("/")[2].casefold(): zone for zone in zones if "/" in zone}
    asked = name.strip().casefold().replace(" ", "_")
    found = [
        known[text]
        for known, wanted in ((by_text, asked), (by_city, asked.rpartition("/")[2]))
        for text in difflib.get_close_matches(wanted, known, n=NUM_NEAR, cutoff=0.75)
    ]
    return list(dict.fromkeys(found))[:NUM_NEAR]


def instant_of(local: datetime, zone: ZoneInfo) -> datetime:
    """The first instant, in UTC, at which the zone's clocks show a local time or have passed it.

    So a time that clocks skip is the instant at which they skip it, and one that they show twice is the
    first of the two. Of two local times the later never comes first.
    """
    by_first = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if _shown(by_first, zone) == local:
        return by_first
    # Skipped: by the offset of after the change it is before it, and by that of before it is after it.
    by_second = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    seconds = range(int((by_first - by_second).total_seconds()) + 1)
    passed = bisect_left(seconds, True, key=lambda s: _shown(by_second + s * SECOND, zone) >= local)
    return by_second + passed * SECOND


def _shown(instant: datetime, zone: ZoneInfo) -> datetime:
    """What the zone's clocks show."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)
