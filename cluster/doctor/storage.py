"""Whether a store can be read and written as jobs do, keeps its promises, and how fast it is."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from cluster.doctor.finding import Finding, ok, problem, warning
from cvcore.errors import SpecError, VeedorError
from jobs.storage import (
    Access,
    AccessRefused,
    BucketMissing,
    CredentialsRefused,
    StorageError,
    Store,
    StoreFull,
    StoreUnreachable,
    join,
    open_store,
    probe_create_only,
)

AREA: Final = "storage"
PROBE_BYTES: Final = 8 * 2**20
SLOW_BYTES_PER_S: Final = 10e6
SLOW_ANSWER_S: Final = 0.5
MAX_SKEW_S: Final = 10.0
"""S3 refuses signatures from 15 minutes on; schedules and people are confused long before."""

REMEDIES: Final[tuple[tuple[type[StorageError], str], ...]] = (
    (
        CredentialsRefused,
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a --profile; where they are set, see "
        "whether they expired, and whether this machine's clock is right",
    ),
    (AccessRefused, "let these credentials list, read, write and delete below it"),
    (BucketMissing, "make it, or correct the name; of other servers than AWS give --endpoint-url"),
    (StoreFull, "make room, or raise the quota"),
    (StoreUnreachable, "see --endpoint-url, the network, and whether the server runs"),
)


def _machine_time() -> datetime:
    return datetime.now(UTC)


def check_storage(uri: str, access: Access) -> Iterator[Finding]:
    """Try out a place as `access` reaches it."""
    try:
        store = open_store(uri, access)
    except (SpecError, StorageError) as error:
        yield _refused(error)
        return
    yield from StorageCheck(uri, store).run()


class StorageCheck:
    """Tries out one place of a store; what it writes there it deletes again.

    Args:
        uri: a folder or prefix.
        store: opened for it.
        now: the machine's clock.
        timer: seconds that only go forward.
    """

    def __init__(
        self,
        uri: str,
        store: Store,
        *,
        now: Callable[[], datetime] = _machine_time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._uri = uri
        self._store = store
        self._now = now
        self._timer = timer
        # A name that jobs and readers pass over, should it be left behind.
        self._probe = join(uri, f"_veedor-doctor-{secrets.token_hex(8)}")
        self._written: list[str] = []

    def run(self) -> Iterator[Finding]:
        """What was found; after what nothing can follow, nothing does."""
        try:
            yield from self._listing()
            yield from self._writing()
            yield from self._promise()
            yield from self._clock()
            yield from self._speed()
        except StorageError as error:
            yield _refused(error)
        finally:
            leftovers = self._leftovers()
        if leftovers is not None:
            yield leftovers

    def _listing(self) -> Iterator[Finding]:
        began = self._timer()
        names = self._store.list_names(self._uri)
        took_s = self._timer() - began
        text = f"{self._uri} can be listed: {len(names):,} object{'s' * (len(names) != 1)} directly in it"
        yield ok(AREA, text, answer_s=round(took_s, 4))

    def _writing(self) -> Iterator[Finding]:
        uri = f"{self._probe}-small"
        began = self._timer()
        self._create(uri, b"written by veedor doctor")
        took_s = self._timer() - began
        if self._store.read(uri) != b"written by veedor doctor":
            yield problem(
                AREA,
                f"{self._uri} gives back something else than was written",
                "something between here and the store alters what it carries: use https, or another route",
            )
        elif uri.rpartition("/")[2] not in self._store.list_names(self._uri):
            yield problem(
                AREA,
                f"{self._uri} does not list an object that was just written",
                "jobs go by listings: use a store whose listings are up to date (Amazon S3's are since 2020)",
            )
        elif took_s > SLOW_ANSWER_S:
            yield warning(
                AREA,
                f"{self._uri} takes {took_s:.2f} s to write a small object",
                "put the store, or the cluster, nearer; many small units suffer most (sink.images_per_unit)",
                create_s=round(took_s, 4),
            )
        else:
            yield ok(
                AREA,
                f"{self._uri} can be written and read back; a small object takes {took_s * 1e3:.0f} ms",
                create_s=round(took_s, 4),
            )

    def _promise(self) -> Iterator[Finding]:
        if probe_create_only(self._uri, self._store, writer=f"doctor-{secrets.token_hex(4)}"):
            yield ok(AREA, "objects that are only to be created are not overwritten")
            return
        yield problem(
            AREA,
            "the store overwrites objects that it was asked only to create: two drivers could mix their "
            "results, and two ticks run the same",
            "use another bucket (versioned buckets of some servers do this), or a folder; a single driver "
            "can do with sink.single_writer: true",
        )

    def _clock(self) -> Iterator[Finding]:
        uri = f"{self._probe}-clock"
        before = self._now()
        self._create(uri, b"what time is it?")
        after = self._now()
        there = self._store.modified_at(uri)
        skew_s = max((before - there).total_seconds() - 1, (there - after).total_seconds(), 0.0)
        if skew_s <= MAX_SKEW_S:
            yield ok(AREA, "the store's clock and this machine's agree", skew_s=round(skew_s, 3))
            return
        way = "ahead of" if there < before else "behind"
        yield warning(
            AREA,
            f"this machine's clock is {skew_s:.0f} s {way} the store's",
            "set this machine's clock (NTP): from 15 minutes on S3 refuses what it signs",
            skew_s=round(skew_s, 3),
        )

    def _speed(self) -> Iterator[Finding]:
        uri, body = f"{self._probe}-large", secrets.token_bytes(PROBE_BYTES)
        began = self._timer()
        self._create(uri, body)
        written = self._timer()
        self._store.read(uri)
        write_rate = PROBE_BYTES / max(written - began, 1e-6)
        read_rate = PROBE_BYTES / max(self._timer() - written, 1e-6)
        text = f"one stream writes {write_rate / 1e6:,.0f} MB/s and reads {read_rate / 1e6:,.0f} MB/s"
        facts = {"write_bytes_per_s": round(write_rate), "read_bytes_per_s": round(read_rate)}
        if min(write_rate, read_rate) >= SLOW_BYTES_PER_S:
            yield ok(AREA, text, **facts)
        else:
            yield warning(
                AREA,
                text,
                "put the store, or the cluster, nearer: reading may decide how fast jobs are",
                **facts,
            )

    def _create(self, uri: str, body: bytes) -> None:
        self._written.append(uri)
        self._store.create(uri, body, writer="doctor")

    def _leftovers(self) -> Finding | None:
        """Delete what was written."""
        try:
            for uri in self._written:
                self._store.delete(uri)
        except StorageError as error:
            return warning(
                AREA,
                f"what was written cannot be deleted: {_refused(error).text}",
                "let these credentials delete: jobs leave claims and merged parts otherwise; then remove "
                f"{self._probe}*",
            )
        return None


def _refused(error: VeedorError) -> Finding:
    """A store's error, whose first sentence says what is wrong."""
    what, _, rest = str(error).partition(". ")
    known = (remedy for kind, remedy in REMEDIES if isinstance(error, kind))
    return problem(AREA, what.rstrip("."), next(known, rest or "see what the store says of it"))
