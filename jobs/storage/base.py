"""What every store offers, and how it is reached."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import BinaryIO, Literal, Protocol

from cvcore.errors import VeedorError
from jobs.storage.locations import is_s3
from jobs.storage.roots import Roots, environment_roots

CreateOutcome = Literal["created", "same", "exists"]


class StorageError(VeedorError):
    """A store refused or failed; `code` is the closed, machine-readable reason.

    `whole_store` says that no object is to blame: every other call would fail as well.
    """

    code = "storage"
    whole_store = False


class ObjectMissing(StorageError):
    """There is no such object."""

    code = "missing"


class BucketMissing(ObjectMissing):
    """There is no such bucket or folder."""


class ObjectChanged(StorageError):
    """The object is no longer the version that was pinned."""

    code = "changed"


class AccessRefused(StorageError):
    """The credentials do not allow this."""

    code = "denied"


class CredentialsRefused(AccessRefused):
    """Credentials are absent, wrong or expired, or the clock that signs with them is off."""

    code = "credentials"
    whole_store = True


class StoreFull(StorageError):
    """The disk or the store's quota is used up."""

    code = "full"
    whole_store = True


class StoreUnreachable(StorageError):
    """The store did not answer, or kept failing until the attempts ran out."""

    code = "unreachable"
    whole_store = True


class ObjectUnreadable(StorageError):
    """The store answers, but not with this object."""

    code = "unreadable"


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object as listed: `etag` names this version of it, `size` is in bytes."""

    uri: str
    etag: str
    size: int


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach object storage. Secrets come from the environment or the named profile, never from here.

    Attributes:
        profile: a profile of the AWS configuration files; None means the environment's default chain.
        endpoint_url: of an S3-compatible server; None means `AWS_ENDPOINT_URL`, the profile's, or AWS.
        region: None means the environment's or the profile's.
        attempts: how often a call that fails for a passing reason is made in all.
        timeout_s: without an answer, or another byte of one, until a call is made again.
        max_requests_per_s: of one process; None means no limit.
        roots: what may be read and written at all; by default what this process's environment says. They go
            with the job to its workers, whose own environment counts too.
    """

    profile: str | None = None
    endpoint_url: str | None = None
    region: str | None = None
    attempts: int = 8
    timeout_s: float = 20.0
    max_requests_per_s: float | None = None
    roots: Roots = field(default_factory=environment_roots)

    def within(self, source: str) -> Access:
        """The same, confined further to a local folder: links that lead out of it are not followed.

        Object storage has no links.
        """
        return self if is_s3(source) else replace(self, roots=(*self.roots, (source,)))


class Store(Protocol):
    """The calls that jobs make. All take full locations and raise `StorageError`s."""

    def walk(self, uri: str) -> Iterator[ObjectInfo]:
        """Every object at or below `uri`, in byte order of location; hidden (`.`, `_`) names left out."""

    def stat(self, uri: str) -> ObjectInfo:
        """The object as it is now; `ObjectMissing` if there is none."""

    def exists(self, uri: str) -> bool:
        """Whether there is an object at exactly this location."""

    def modified_at(self, uri: str) -> datetime:
        """When the object was last written, by the store's own clock (S3: to the second), with a zone."""

    def read(self, uri: str, *, etag: str | None = None) -> bytes:
        """The whole object, checked against its digest where there is one; with `etag`, that version or
        `ObjectChanged`."""

    def open(self, uri: str, *, etag: str | None = None, size: int | None = None) -> BinaryIO:
        """The object as a seekable file that is read by range, for what is too large to read whole.

        With `etag`, that version or `ObjectChanged`, when opened or read. `size`, as listed, saves a call.
        """

    def create(self, uri: str, body: bytes, *, writer: str) -> CreateOutcome:
        """Create an object whole, only if there is none.

        Returns `created`, `same` if an equal object already stands there, or `exists` if another one does;
        what stands is never changed. `writer` is noted beside the object where the store can.
        """

    def put(self, uri: str, body: bytes) -> None:
        """Write an object whole, replacing what is there."""

    def delete(self, uri: str) -> None:
        """Delete an object; one that is not there is no error."""

    def list_names(self, uri: str) -> list[str]:
        """Names of the objects directly in folder `uri`, sorted; an absent folder has none."""
