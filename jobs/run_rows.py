"""Reading a finished run's rows again, part by part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.run_folder import RunFolder, part_number
from jobs.storage import Store, join


def iter_tables(folder: RunFolder, store: Store, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The named columns, those that there are, of each file, in order."""
    for name in store.list_names(folder.data):
        if part_number(name) is None:
            continue
        file = pq.ParquetFile(pa.BufferReader(store.read(join(folder.data, name))))
        present = [column for column in columns if column in file.schema_arrow.names]
        yield file.read(columns=present)


def read_table(folder: RunFolder, store: Store, columns: Sequence[str]) -> pa.Table | None:
    """All of them at once; None for a run without rows."""
    tables = list(iter_tables(folder, store, columns))
    return pa.concat_tables(tables) if tables else None
