"""From a location to the store that holds it."""

from __future__ import annotations

from dataclasses import replace

from cvcore.errors import SpecError
from jobs.storage.base import Access, Store
from jobs.storage.local import LocalStore
from jobs.storage.locations import is_s3
from jobs.storage.roots import environment_roots, is_allowed, refusal


def open_store(uri: str, access: Access | None = None) -> Store:
    """Return the store for a resolved location. Call it in the process that will use the store.

    Raises:
        SpecError: if the location, or the endpoint, is not allowed.
    """
    access = _effective(access or Access())
    if not is_allowed(uri, access.roots):
        raise SpecError(refusal(uri, access.roots))
    return _open(is_s3(uri), access)


def open_stage_store(*, s3: bool, access: Access) -> Store:
    """A store of one kind for all of a job's locations; each is checked when it is used."""
    return _open(s3, _effective(access))


def _effective(access: Access) -> Access:
    """With what this process's own environment allows, which counts beside what came with the job."""
    return replace(access, roots=tuple(dict.fromkeys((*access.roots, *environment_roots()))))


def _open(s3: bool, access: Access) -> Store:
    if s3:
        from jobs.storage.s3 import S3Store  # here, so that local jobs do not pay for importing botocore

        return S3Store(access)
    return LocalStore(access.roots)
