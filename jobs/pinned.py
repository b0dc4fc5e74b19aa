"""A job's pinned inputs, kept as Parquet in memory: about 30 bytes an input, read a row group at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby, islice

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.schemas import PLAN_SCHEMA
from jobs.storage import ObjectInfo

GROUP_ROWS = 16_384  # a multiple of the largest unit, so that few units lie across two groups
DIGEST_KEY = "veedor.inputs_sha256"


@dataclass(frozen=True)
class PinnedInputs:
    """Inputs in byte order of location.

    Attributes:
        digest: SHA-256, hexadecimal, of every location, version and size in order; it names the inputs.
        num_rows: how many there are.
        parquet: `jobs.schemas.PLAN_SCHEMA` as a Parquet file; Ray hands it on without a copy.
    """

    digest: str
    num_rows: int
    parquet: pa.Buffer = field(compare=False, repr=False)

    @classmethod
    def from_parquet(cls, body: bytes) -> PinnedInputs:
        """Open what `parquet` held.

        Raises:
            ValueError: if it is not that.
        """
        parquet = pa.py_buffer(body)
        metadata = pq.read_metadata(pa.BufferReader(parquet))
        stored = metadata.metadata or {}
        if DIGEST_KEY.encode() not in stored:
            raise ValueError(f"there is no {DIGEST_KEY} in its metadata")
        return cls(stored[DIGEST_KEY.encode()].decode(), metadata.num_rows, parquet)

    def rows(self, numbers: Sequence[int]) -> pa.Table:
        """Rows by number, in the order asked for: `jobs.schemas.PLAN_SCHEMA`."""
        groups = groupby(numbers, key=lambda row: row // GROUP_ROWS)
        found = [_read_group(self, g).take([row - g * GROUP_ROWS for row in inside]) for g, inside in groups]
        return pa.concat_tables(found) if found else PLAN_SCHEMA.empty_table()


def pin_inputs(listed: Iterable[ObjectInfo]) -> PinnedInputs:
    """Encode objects as they are listed; memory holds one row group beside what is encoded."""
    digest, num_rows, sink = hashlib.sha256(), 0, pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink, PLAN_SCHEMA, compression="zstd", use_dictionary=False, write_statistics=False
    ) as writer:
        rest = iter(listed)
        while infos := list(islice(rest, GROUP_ROWS)):
            lines = "".join(f"{info.uri}\0{info.etag}\0{info.size}\n" for info in infos)
            digest.update(lines.encode(errors="surrogatepass"))
            columns = [[i.uri for i in infos], [i.etag for i in infos], [i.size for i in infos]]
            writer.write_batch(pa.record_batch(columns, schema=PLAN_SCHEMA), row_group_size=GROUP_ROWS)
            num_rows += len(infos)
        writer.add_key_value_metadata({DIGEST_KEY: digest.hexdigest()})
    return PinnedInputs(digest.hexdigest(), num_rows, sink.getvalue())


@lru_cache(maxsize=1)
def _metadata(inputs: PinnedInputs) -> pq.FileMetaData:
    return pq.read_metadata(pa.BufferReader(inputs.parquet))


@lru_cache(maxsize=2)
def _read_group(inputs: PinnedInputs, group: int) -> pa.Table:
    """One row group; a process works on neighbouring units, which mostly share one."""
    file = pq.ParquetFile(pa.BufferReader(inputs.parquet), metadata=_metadata(inputs))
    return file.read_row_group(group, use_threads=False).cast(PLAN_SCHEMA)
