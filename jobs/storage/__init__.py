"""Reading, listing and create-only writing, on local folders and S3."""

from jobs.storage.base import (
    Access,
    AccessRefused,
    BucketMissing,
    CreateOutcome,
    CredentialsRefused,
    ObjectChanged,
    ObjectInfo,
    ObjectMissing,
    ObjectUnreadable,
    StorageError,
    Store,
    StoreFull,
    StoreUnreachable,
)
from jobs.storage.locations import base_name, is_s3, join, name_below, resolve_location
from jobs.storage.open import open_stage_store, open_store
from jobs.storage.probe import probe_create_only

__all__ = [
    "Access",
    "AccessRefused",
    "BucketMissing",
    "CreateOutcome",
    "CredentialsRefused",
    "ObjectChanged",
    "ObjectInfo",
    "ObjectMissing",
    "ObjectUnreadable",
    "StorageError",
    "Store",
    "StoreFull",
    "StoreUnreachable",
    "base_name",
    "is_s3",
    "join",
    "name_below",
    "open_stage_store",
    "open_store",
    "probe_create_only",
    "resolve_location",
]
