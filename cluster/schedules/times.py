"""Times as people write them, in a schedule's zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from cluster.schedules.zones import instant_of
from cvcore.errors import SpecError


def parse_instant(text: str, zone: ZoneInfo, *, option: str, end: bool = False) -> datetime:
    """A date or time in ISO's form as an instant; without an offset it is one of the zone's clocks.

    Args:
        text: 2026-11-29, 2026-11-29T02:00 or 2026-11-29T02:00+01:00.
        zone: of the schedule.
        option: what to call it in a message.
        end: whether a date means its last minute rather than its first.

    Raises:
        SpecError: if it is neither.
    """
    try:
        if len(text) <= len("2026-11-29"):
            found = datetime.combine(date.fromisoformat(text), time(23, 59) if end else time())
        else:
            found = datetime.fromisoformat(text)
    except ValueError as error:
        raise SpecError(
            f"{option} {text!r} is no date or time: write 2026-11-29, 2026-11-29T02:00 (in {zone.key}) or "
            "2026-11-29T02:00+01:00"
        ) from error
    return found.astimezone(UTC) if found.tzinfo else instant_of(found.replace(microsecond=0), zone)
