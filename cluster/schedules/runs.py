"""The runs of a schedule: a chain of objects that are created and never changed.

<store>/schedules/runs/NAME/000000/000000007.claim-1.json   who makes the first attempt at run 7
                                   000000007.alive-1.json   rewritten by him alone, while he lives
                                   000000007.ended-1.json   how that attempt ended, if it did not end the run
                                   000000007.claim-2.json   who makes the next one
                                   000000007.done.json      what the run came to

Run 8 is claimed after run 7 is done, so runs do not overlap, and one listing shows where a schedule stands.
Folders hold `RUNS_A_FOLDER` runs each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from pydantic import ValidationError

from cluster.schedules.records import Claim, Ended, Record
from cvcore.errors import VeedorError
from jobs.spec import Section
from jobs.storage import Store, join

RUNS_A_FOLDER = 500
_NAME = re.compile(r"^(\d{9,})\.(?:(claim|alive|ended)-(\d+)|(done))\.json$")
Kind = TypeVar("Kind", bound=Section)


class UnreadableRun(VeedorError):
    """A record that this version cannot read."""


@dataclass
class _Seen:
    """What a listing shows of one run: attempts by kind of object."""

    claims: set[int] = field(default_factory=set)
    alive: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)
    done: bool = False


@dataclass(frozen=True)
class RunState:
    """Where a run stands.

    Attributes:
        claim: the latest.
        seen_at: the last sign of life of who claimed it, by the store's clock.
        ended: how that attempt ended, if it said so.
        done: whether the run is.
    """

    claim: Claim
    seen_at: datetime
    ended: Ended | None
    done: bool


@dataclass(frozen=True)
class RunHistory:
    """All that is known of one run, its attempts in order."""

    claims: tuple[Claim, ...]
    ended: dict[int, Ended]
    record: Record | None


class Runs:
    """The runs of one schedule."""

    def __init__(self, root: str, name: str, store: Store) -> None:
        self._folder = join(root, "schedules", "runs", name)
        self._store = store

    def last(self) -> RunState | None:
        """Where the last run stands; None before the first."""
        number, seen = self._last_seen()
        if seen is None:
            return None
        attempt = max(seen.claims)
        claim = self._read(self._uri(number, f"claim-{attempt}"), Claim)
        ended = self._ended(number, attempt) if attempt in seen.ended and not seen.done else None
        seen_at = claim.at
        if not seen.done and ended is None:
            seen_at = self._store.modified_at(self._uri(number, f"claim-{attempt}"))
            if attempt in seen.alive:
                seen_at = max(seen_at, self._store.modified_at(self._uri(number, f"alive-{attempt}")))
        return RunState(claim, seen_at, ended, seen.done)

    def claim(self, claim: Claim) -> bool:
        """Claim an attempt; whether it is the claimer's now."""
        uri = self._uri(claim.number, f"claim-{claim.attempt}")
        return self._create(uri, claim, claim.holder.id)

    def is_taken_over(self, claim: Claim) -> bool:
        """Whether somebody has claimed the next attempt."""
        return self._store.exists(self._uri(claim.number, f"claim-{claim.attempt + 1}"))

    def renew(self, claim: Claim) -> None:
        """Give a sign of life."""
        self._store.put(self._uri(claim.number, f"alive-{claim.attempt}"), claim.holder.id.encode())

    def end(self, claim: Claim, ended: Ended) -> None:
        """Note how an attempt ended that leaves its run to another."""
        self._create(self._uri(claim.number, f"ended-{claim.attempt}"), ended, claim.holder.id)

    def close(self, record: Record) -> bool:
        """Note what a run came to; False if somebody else has."""
        return self._create(self._uri(record.number, "done"), record, record.holder.id)

    def history(self) -> Iterator[RunHistory]:
        """Everything known of each run, the last one first."""
        number, _ = self._last_seen()
        for folder in reversed(range(number // RUNS_A_FOLDER + 1)):
            for each, seen in sorted(self._listed(folder).items(), reverse=True):
                yield self._whole(each, seen)

    def _whole(self, number: int, seen: _Seen) -> RunHistory:
        claims = [self._read(self._uri(number, f"claim-{n}"), Claim) for n in sorted(seen.claims)]
        ended = {n: found for n in sorted(seen.ended) if (found := self._ended(number, n)) is not None}
        record = self._read(self._uri(number, "done"), Record) if seen.done else None
        return RunHistory(tuple(claims), ended, record)

    def _last_seen(self) -> tuple[int, _Seen | None]:
        """The number of the last run, and what a listing shows of it; 0 and None before the first."""

        def begun(folder: int) -> bool:
            return self._store.exists(self._uri(folder * RUNS_A_FOLDER, "claim-1"))

        folder = last_true(begun)
        listed = self._listed(folder)
        number = max(listed, default=0)
        return number, listed.get(number)

    def _listed(self, folder: int) -> dict[int, _Seen]:
        """What a folder shows, by the number of the run; only runs that are claimed."""
        runs: dict[int, _Seen] = {}
        for name in self._store.list_names(join(self._folder, f"{folder:06d}")):
            if (found := _NAME.match(name)) is None:
                continue
            seen = runs.setdefault(int(found[1]), _Seen())
            if found[4]:
                seen.done = True
            else:
                kinds = {"claim": seen.claims, "alive": seen.alive, "ended": seen.ended}
                kinds[found[2]].add(int(found[3]))
        return {number: seen for number, seen in runs.items() if seen.claims}

    def _ended(self, number: int, attempt: int) -> Ended | None:
        return self._read(self._uri(number, f"ended-{attempt}"), Ended)

    def _create(self, uri: str, content: Section, writer: str) -> bool:
        return self._store.create(uri, content.model_dump_json(indent=1).encode(), writer=writer) != "exists"

    def _read(self, uri: str, kind: type[Kind]) -> Kind:
        try:
            return kind.model_validate_json(self._store.read(uri))
        except ValidationError as error:
            raise UnreadableRun(
                f"{uri} cannot be read by this version ({str(error).splitlines()[0]}): it was altered, or "
                "made by another version of veedor"
            ) from error

    def _uri(self, number: int, what: str) -> str:
        return join(self._folder, f"{number // RUNS_A_FOLDER:06d}", f"{number:09d}.{what}.json")


def last_true(holds: Callable[[int], bool]) -> int:
    """The last number that something holds for, which holds for no number after one that it does not.

    0 is taken to hold. Takes about twice as many questions as the answer has binary digits.
    """
    low, high = 0, 1
    while holds(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
