"""Whether a store keeps the promise that claims rest on."""

from __future__ import annotations

from jobs.storage.base import Store
from jobs.storage.locations import join


def probe_create_only(folder: str, store: Store, *, writer: str) -> bool:
    """Whether the store refuses to create what exists in a folder. Leaves nothing behind."""
    uri = join(folder, f"probe-{writer}")
    try:
        store.create(uri, b"first", writer=writer)
        return (
            store.create(uri, b"second", writer=writer + "-other") == "exists" and store.read(uri) == b"first"
        )
    finally:
        store.delete(uri)
