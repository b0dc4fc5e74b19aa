"""From a location to the store that holds it."""

from __future__ import annotations

from jobs.storage.base import Access, Store, is_s3
from jobs.storage.local import LocalStore

DEFAULT_ACCESS = Access()


def open_store(uri: str, access: Access = DEFAULT_ACCESS) -> Store:
    """Return the store for a resolved location. Call it in the process that will use the store."""
    if is_s3(uri):
        from jobs.storage.s3 import S3Store  # here, so that local jobs do not pay for importing botocore

        return S3Store(access)
    return LocalStore()
