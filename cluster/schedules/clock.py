"""The store's clock: the one by which everybody who ticks agrees on what is due and who has died.

A store dates what is written into it. So an object that is written now says what time it is there, and no
machine's own clock decides anything.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from jobs.storage import Store, join

TOLERANCE = timedelta(seconds=10)


def machine_time() -> datetime:
    """What this machine takes the time to be."""
    return datetime.now(UTC)


class StoreClock:
    """Reads the store's time by writing one small object, the same each time.

    Attributes:
        warning: what to say of this machine's clock after a reading, where it is far off; else empty.
    """

    def __init__(self, root: str, store: Store, *, own: Callable[[], datetime] = machine_time) -> None:
        self._uri = join(root, "schedules", "clock")
        self._store = store
        self._own = own
        self.warning = ""

    def now(self) -> datetime:
        """The store's time: at or after the call, since another's later writing only makes it later."""
        before = self._own()
        self._store.put(self._uri, b"what time is it?")
        now = self._store.modified_at(self._uri).astimezone(UTC)
        self.warning = skew_warning(before, now, self._own())
        return now


def skew_warning(before: datetime, now: datetime, after: datetime) -> str:
    """What to say where `now`, the store's time, is not about between two readings of the own clock."""
    ahead = before - now if now < before else after - now if now > after else timedelta()
    if abs(ahead) <= TOLERANCE:
        return ""
    way = "ahead of" if ahead > timedelta() else "behind"
    off = timedelta(seconds=round(abs(ahead).total_seconds()))
    return (
        f"this machine's clock is {off} {way} the store's. Ticks go by the store's, so nothing is lost; "
        "but set this one, by which what jobs leave is dated"
    )
