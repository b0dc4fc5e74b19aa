"""Reading a finished run's rows again, part by part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.run_folder import RunFolder, part_number
from jobs.storage import Store


def iter_tables(folder: RunFolder, store: Store, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The named columns, those that there are, of each file, in order."""
    for name in store.list_names(folder.data):
        if (number := part_number(name)) is not None:
            yield read_file(folder, store, number, columns)


def read_file(folder: RunFolder, store: Store, number: int, columns: Sequence[str]) -> pa.Table:
    """The named columns, those that there are, of one file."""
    file = pq.ParquetFile(pa.BufferReader(store.read(folder.file(number))))
    return file.read(columns=[column for column in columns if column in file.schema_arrow.names])


def vectors_of(table: pa.Table) -> npt.NDArray[np.float32] | None:
    """The column `embedding`, (N, D), of rows that all have one; None for a table without it."""
    if "embedding" not in table.column_names:
        return None
    column = table.column("embedding").combine_chunks()
    vectors: npt.NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False)
    return vectors.reshape(len(column), column.type.list_size)


def read_table(folder: RunFolder, store: Store, columns: Sequence[str]) -> pa.Table | None:
    """All of them at once; None for a run without rows."""
    tables = list(iter_tables(folder, store, columns))
    return pa.concat_tables(tables) if tables else None
