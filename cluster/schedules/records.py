"""What is written of a schedule's runs: claims, ends of attempts, and the one record of each run."""

from __future__ import annotations

import os
import secrets
import socket
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, Field

from jobs.spec import Section

FORMAT: Final = 1
Outcome = Literal["finished", "over limit", "failed", "given up", "superseded"]
"""What a run came to. `given up`: its processes ended, again and again, without a word. `superseded`: it was
left open under a definition that is no longer the schedule's."""

Count = Annotated[int, Field(ge=0)]
Number = Annotated[int, Field(ge=1)]


class Holder(Section):
    """A process that attempts a run; `id` tells it from all others."""

    id: str
    host: str
    pid: int

    @classmethod
    def me(cls) -> Holder:
        return cls(id=f"h{secrets.token_hex(8)}", host=socket.gethostname(), pid=os.getpid())

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Due(Section):
    """The ticks that a run is for: the `count` instants from `first` to `last`."""

    kind: Literal["tick", "backfill"] = "tick"
    first: AwareDatetime
    last: AwareDatetime
    count: Number


class Progress(Section):
    """Up to where a schedule's instants have had their runs, after a run.

    Attributes:
        until: of its own ticks.
        backfill: number of the backfill that was worked on last; those before it are done.
        backfill_until: of that backfill's instants.
    """

    until: AwareDatetime | None = None
    backfill: Count = 0
    backfill_until: AwareDatetime | None = None


class Claim(Section):
    """One attempt at a run: created by who makes it, before anything is done.

    Attributes:
        number: of the run, from 1 without gaps.
        attempt: from 1; a further one is made where the last failed, or its process died.
        failures: attempts before this one that failed or died; interrupted ones do not count.
        definition: of the schedule's, which decides what is run.
        progress: the schedule's, with this run.
    """

    format: Literal[1] = FORMAT
    number: Number
    attempt: Number
    failures: Count
    due: Due
    definition: Number
    progress: Progress
    holder: Holder
    at: AwareDatetime


class Report(Section):
    """What running a job came to.

    Attributes:
        exit_code: as `veedor run` exits with.
        uri: folder of its results.
        counts, failures: of its inputs, as its manifest has them.
        scan: of a scan, what was decided; as its manifest has it.
        error: what went wrong, in words.
    """

    exit_code: int
    uri: str | None = None
    counts: dict[str, Any] = Field(default_factory=dict)
    failures: dict[str, int] = Field(default_factory=dict)
    scan: dict[str, Any] | None = None
    error: str | None = None


class Ended(Section):
    """How an attempt ended that did not end its run."""

    format: Literal[1] = FORMAT
    outcome: Literal["failed", "interrupted"]
    at: AwareDatetime
    report: Report


class Record(Section):
    """What a run came to: created once for each run.

    Attributes:
        attempt: the one that brought it there.
        claimed_at, at: when that attempt began, and when it was over, by the store's clock.
        report: what the job came to; None where no attempt came to an end.
    """

    format: Literal[1] = FORMAT
    number: Number
    attempt: Number
    due: Due
    definition: Number
    outcome: Outcome
    holder: Holder
    claimed_at: AwareDatetime
    at: AwareDatetime
    report: Report | None = None


def lag_s(claim: Claim) -> float:
    """Seconds from when a run's last tick was due to when it was claimed."""
    seen: datetime = claim.at
    return (seen - claim.due.last).total_seconds()
