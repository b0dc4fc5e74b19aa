"""Which versions of which objects scans have seen: the ledger of a scan folder.

<root>/_veedor/ledger/scan-<number>.parquet   keys of what one successful scan took; created once, after it
<root>/_veedor/ledger/upto-<number>.parquet   keys of all scans up to one, so that reading stays quick
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.pinned import PinnedInputs
from jobs.storage import ObjectInfo, Store, join

KEY_BYTES = 16
CHUNK = 4096
MERGE_EVERY = 100
Keys = npt.NDArray[np.bytes_]
_NAME = re.compile(r"^(scan|upto)-(\d{6,})\.parquet$")


def ledger_key(uri: str, etag: str) -> bytes:
    """What stands for a version of an object: 16 bytes of a digest."""
    text = f"{uri}\0{etag}".encode(errors="surrogatepass")
    return hashlib.blake2b(text, digest_size=KEY_BYTES).digest()


class Ledger:
    """The keys of all successful scans into a folder.

    Attributes:
        last: the number of the last of them; 0 before the first.
    """

    def __init__(self, root: str, store: Store) -> None:
        self._folder = join(root, "_veedor", "ledger")
        self._store = store
        known = [found for name in store.list_names(self._folder) if (found := _NAME.match(name))]
        singles = {int(found[2]) for found in known if found[1] == "scan"}
        merged = max((int(found[2]) for found in known if found[1] == "upto"), default=0)
        self.last = max(singles, default=0)
        names = [self._uri("upto", merged)] if merged else []
        names += [self._uri("scan", number) for number in sorted(singles) if number > merged]
        parts = [self._read(name) for name in names]
        keys = np.concatenate(parts) if parts else np.empty(0, f"S{KEY_BYTES}")
        self._keys: Keys = np.unique(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def unseen(self, infos: Iterable[ObjectInfo]) -> Iterator[ObjectInfo]:
        """Pass on the versions that no scan has seen, in order."""
        rest = iter(infos)
        while chunk := list(islice(rest, CHUNK)):
            keys = _array(ledger_key(info.uri, info.etag) for info in chunk)
            for info, seen in zip(chunk, self._contains(keys), strict=True):
                if not seen:
                    yield info

    def advance(self, number: int, inputs: PinnedInputs, *, writer: str) -> None:
        """Note what scan `number`, which has succeeded, took. Doing so twice changes nothing."""
        keys = np.unique(_array(ledger_key(uri, etag) for uri, etag in _versions(inputs)))
        self._store.create(self._uri("scan", number), _encode(keys), writer=writer)
        self._keys = np.union1d(self._keys, keys)
        self.last = max(self.last, number)
        if number % MERGE_EVERY == 0:
            self._store.create(self._uri("upto", number), _encode(self._keys), writer=writer)

    def _contains(self, keys: Keys) -> npt.NDArray[np.bool_]:
        if not len(self._keys):
            return np.zeros(len(keys), bool)
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        found: npt.NDArray[np.bool_] = self._keys[places] == keys
        return found

    def _uri(self, kind: str, number: int) -> str:
        return join(self._folder, f"{kind}-{number:06d}.parquet")

    def _read(self, uri: str) -> Keys:
        table = pq.read_table(pa.BufferReader(self._store.read(uri)))
        return _array(table.column("key").to_pylist())


def _versions(inputs: PinnedInputs) -> Iterator[tuple[str, str]]:
    for first in range(0, inputs.num_images, CHUNK):
        rows = inputs.rows(range(first, min(first + CHUNK, inputs.num_images)))
        yield from zip(rows.column("uri").to_pylist(), rows.column("etag").to_pylist(), strict=True)
    if inputs.num_rows > inputs.num_images:
        yield from inputs.segment_videos()


def _array(keys: Iterable[bytes]) -> Keys:
    """Keys as an array; trailing zero bytes are NumPy's padding, on both sides of every comparison."""
    return np.array(list(keys), f"S{KEY_BYTES}")


def _encode(keys: Keys) -> bytes:
    padded = [key.ljust(KEY_BYTES, b"\0") for key in keys.tolist()]
    buffer = io.BytesIO()
    pq.write_table(pa.table({"key": pa.array(padded, pa.binary(KEY_BYTES))}), buffer, compression="zstd")
    return buffer.getvalue()
