"""What every store offers, and how locations are written.

A location is a plain path (`photos/`, made absolute on entry) or `s3://bucket/key`. Nothing else is read:
schemes outside the allow-list are refused before anything is opened.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit

from cvcore.errors import SpecError, VeedorError

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
    """

    profile: str | None = None
    endpoint_url: str | None = None
    region: str | None = None
    attempts: int = 8


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


def is_s3(uri: str) -> bool:
    """Whether a location names object storage."""
    return uri.startswith("s3://")


def resolve_location(text: str) -> str:
    """Return a location in its one form: `s3://bucket/key` or an absolute path without a trailing slash.

    Raises:
        SpecError: for an empty location, another scheme, or a bucketless one.
    """
    if not text.strip():
        raise SpecError("a location is empty: give a folder or s3://bucket/prefix/")
    parts = urlsplit(text)
    if len(parts.scheme) > 1 and "://" in text:
        if parts.scheme == "file":
            raise SpecError(f"{text!r}: write local files as a plain path, without 'file://'")
        if parts.scheme != "s3":
            raise SpecError(f"{text!r}: scheme {parts.scheme!r} is not allowed; use a local path or s3://")
        bucket, _, key = text[5:].partition("/")
        if not bucket:
            raise SpecError(f"{text!r} names no bucket: write s3://bucket/prefix/")
        return f"s3://{bucket}/{key}".rstrip("/") if not key.endswith("/") else f"s3://{bucket}/{key}"
    return str(Path(text).expanduser().absolute())


def join(uri: str, *names: str) -> str:
    """Append names to a folder's location."""
    return posixpath.join(uri, *names)


def base_name(uri: str) -> str:
    """The last name of a location."""
    return uri.rstrip("/").rpartition("/")[2]
