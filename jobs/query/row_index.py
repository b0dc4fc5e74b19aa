"""A run's rows as a DuckDB file of this machine: read from the run once, asked in milliseconds.

The run's Parquet is compressed in columns of whole units, often far away; to ask it for fifty images reads
most of it. The index holds what is asked for by image: no masks, no pixels. It lies in a folder of its own
that goes with whoever made it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.export.rows import Found
from jobs.query.views import ROWS, listed
from jobs.report.run import Run
from jobs.storage import Store

BATCH_ROWS = 8192
MEMORY_LIMIT = "1GB"

IMAGE_COLUMNS = (
    "ordinal",
    "part",
    "row",
    "uri",
    "etag",
    "frame_index",
    "timestamp_s",
    "width",
    "height",
    "status",
    "error_code",
    "error",
    "num_detections",
)
_OBJECT_COLUMNS = ("number", "label", "label_id", "score", "track_id", "x0", "y0", "x1", "y1")
_ROW_COLUMNS = IMAGE_COLUMNS[3:-1]

OnRows = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class LabelCount:
    """How often a label was found; `label_id` is the model's."""

    label: str
    label_id: int
    count: int


class RowIndex:
    """Tables `images` and `objects`, whose `ordinal` counts the run's rows from 0. Safe for several threads.

    Args:
        connection: with both filled, see `fill_rows`.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def close(self) -> None:
        self._connection.close()

    def images(self, ordinals: Sequence[int]) -> dict[int, dict[str, Any]]:
        """What the run says of some images, `IMAGE_COLUMNS`, by ordinal; in the order asked for."""
        rows = {row["ordinal"]: row for row in self._rows("images", IMAGE_COLUMNS, ordinals)}
        return {ordinal: rows[ordinal] for ordinal in ordinals if ordinal in rows}

    def objects(self, ordinals: Sequence[int]) -> dict[int, list[Found]]:
        """Detections of some images by ordinal, as the run has them, without masks."""
        found: dict[int, list[Found]] = defaultdict(list)
        for row in self._rows("objects", ("ordinal", *_OBJECT_COLUMNS), ordinals):
            found[row["ordinal"]].append(
                Found(
                    row["number"],
                    0,
                    (row["x0"], row["y0"], row["x1"], row["y1"]),
                    row["label"] or "",
                    row["label_id"] or 0,
                    row["score"],
                    row["track_id"],
                )
            )
        return {ordinal: sorted(found[ordinal], key=lambda each: each.number) for ordinal in ordinals}

    def keys(self) -> Iterator[tuple[str, int, int]]:
        """Location, frame (-1 for an image) and ordinal of every row, in the order of the first two."""
        sql = "select uri, coalesce(frame_index, -1) as frame, ordinal from images order by uri, frame"
        cursor = self._connection.cursor().execute(sql)
        while chunk := cursor.fetchmany(BATCH_ROWS):
            yield from chunk

    def num_images(self) -> int:
        """Inputs of the run that have a row."""
        return self._one("select count(*) from images")

    def labels(self) -> list[LabelCount]:
        """All labels that were found, the most frequent first."""
        sql = "select label, min(label_id), count(*) as num from objects group by 1 order by num desc, label"
        rows = self._connection.cursor().execute(sql).fetchall()
        return [LabelCount(label or "", label_id or 0, num) for label, label_id, num in rows]

    def _one(self, sql: str) -> int:
        found = self._connection.cursor().execute(sql).fetchone()
        assert found is not None
        return int(found[0])

    def _rows(self, table: str, columns: Sequence[str], ordinals: Sequence[int]) -> Iterator[dict[str, Any]]:
        numbers = ", ".join(map(str, map(int, ordinals))) or "null"
        sql = f"select {', '.join(columns)} from {table} where ordinal in ({numbers})"
        cursor = self._connection.cursor().execute(sql)
        return (dict(zip(columns, row, strict=True)) for row in cursor.fetchall())


def create_index(folder: Path) -> duckdb.DuckDBPyConnection:
    """A new file with the empty tables, in a folder that exists."""
    connection = duckdb.connect(str(folder / "index.duckdb"))
    connection.execute(f"set memory_limit = '{MEMORY_LIMIT}'")
    spilled = str(folder / "spilled").replace("'", "''")
    connection.execute(f"set temp_directory = '{spilled}'")
    connection.execute(_TABLES)
    return connection


def fill_rows(
    connection: duckdb.DuckDBPyConnection, run: Run, store: Store, on_rows: OnRows | None = None
) -> None:
    """Read a run's rows, a batch at a time.

    Args:
        connection: of `create_index`.
        run: of detections.
        store: that holds it.
        on_rows: told how many rows are done, now and then.
    """
    for table in _tables(run.parts, store):
        _insert(connection, table)
        if on_rows is not None:
            on_rows(table.column("ordinal")[-1].as_py() + 1)


def seal(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave the connection no way to any other file."""
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


_TABLES = """
create table images (
    ordinal bigint, part int, row int, uri varchar, etag varchar, frame_index int, timestamp_s double,
    width int, height int, status varchar, error_code varchar, error varchar, num_detections int);
create table objects (
    ordinal bigint, number int, label varchar, label_id int, score float, track_id bigint,
    x0 float, y0 float, x1 float, y1 float);
"""


def _tables(parts: Sequence[str], store: Store) -> Iterator[pa.Table]:
    """All rows without masks, a batch at a time, with `ordinal`, `part` and `row`: where each is."""
    ordinal = 0
    for number, part in enumerate(parts):
        row = 0
        with store.open(part) as opened:
            file = pq.ParquetFile(pa.PythonFile(opened, mode="r"))
            paths = [file.schema.column(k).path for k in range(len(file.schema))]
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(filter(_is_read, paths))):
                if not batch.num_rows:
                    continue
                places = np.arange(batch.num_rows)
                table = pa.Table.from_batches([batch])
                table = table.append_column("ordinal", pa.array(ordinal + places))
                table = table.append_column("part", pa.array(np.full(len(places), number, np.int32)))
                yield table.append_column("row", pa.array((row + places).astype(np.int32)))
                row, ordinal = row + batch.num_rows, ordinal + batch.num_rows


def _is_read(path: str) -> bool:
    head, _, rest = path.partition(".")
    return head in _ROW_COLUMNS or (head == "detections" and "mask" not in rest.split("."))


def _insert(connection: duckdb.DuckDBPyConnection, table: pa.Table) -> None:
    item = table.schema.field("detections").type.value_type
    fields = {item.field(k).name for k in range(item.num_fields)}
    columns = [name if name in fields or name not in ("track_id",) else "null" for name in _OBJECT_COLUMNS]
    connection.register(ROWS, table)
    wanted = [*IMAGE_COLUMNS[:-1], "len(detections)"]
    connection.execute(f"insert into images select {', '.join(wanted)} from {ROWS}")
    body = listed("detections", item, by="ordinal")
    connection.execute(f"insert into objects select ordinal, {', '.join(columns)} from ({body})")
    connection.unregister(ROWS)
