"""What every store offers, and how it is reached."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from cvcore.errors import VeedorError
from jobs.storage.locations import is_s3
from jobs.storage.roots import Roots, environment_roots

CreateOutcome = Literal["created", "same", "exists"]


class StorageError(VeedorError):
    """A store refused or failed; `code` is the closed, machine-readable reason."""

    code = "storage"


class ObjectMissing(StorageError):
    """There is no such object."""

    code = "missing"


class BucketMissing(ObjectMissing):
    """There is no such bucket or folder."""


class ObjectChanged(StorageError):
    """The object is no longer the version that was pinned."""

    code = "changed"


class AccessRefused(StorageError):
    """Credentials are absent, wrong, or do not allow this."""

    code = "denied"


class StoreUnreachable(StorageError):
    """The store did not answer, or kept failing until the attempts ran out."""

    code = "unreachable"


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
        roots: what may be read and written at all; by default what this process's environment says. They go
            with the job to its workers, whose own environment counts too.
    """

    profile: str | None = None
    endpoint_url: str | None = None
    region: str | None = None
    attempts: int = 8
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

    def read(self, uri: str, *, etag: str | None = None) -> bytes:
        """The whole object; with `etag`, that version or `ObjectChanged`."""

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
