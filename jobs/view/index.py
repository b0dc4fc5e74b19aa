"""A run's rows as a DuckDB file of this machine: read from the run once, asked in milliseconds.

The run's Parquet is compressed in columns of whole units, often far away; a page of fifty images would read
most of it again. The index holds what pages show and filters ask for: no masks, no pixels. It lies in a
folder of its own that goes with the session.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.export.corrected import Corrections
from jobs.export.rows import Found
from jobs.query.views import ROWS, decided, listed
from jobs.report.run import Run
from jobs.storage import Store
from jobs.view.filters import Filter, selection_sql

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
SAID_COLUMNS = (
    "number",
    "action",
    "label",
    "x0",
    "y0",
    "x1",
    "y1",
    "track_id",
    "who",
    "made",
    "tool",
    "file",
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


class RunIndex:
    """Make it with `build_index`. Safe for several threads; `put_said` from one at a time."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def close(self) -> None:
        self._connection.close()

    def select(self, chosen: Filter) -> npt.NDArray[np.int64]:
        """Ordinals of a selection in its order, (N,)."""
        sql, parameters = selection_sql(chosen)
        found = self._connection.cursor().execute(sql, parameters).fetchnumpy()["ordinal"]
        return np.asarray(found, dtype=np.int64)

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

    def said(self, ordinals: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
        """Corrections of some images by ordinal, `SAID_COLUMNS`, without masks."""
        said: dict[int, list[dict[str, Any]]] = {ordinal: [] for ordinal in ordinals}
        for row in self._rows("said", ("ordinal", *SAID_COLUMNS), ordinals):
            said[row.pop("ordinal")].append(row | {"mask": None})
        return said

    def put_said(self, said: Mapping[int, Sequence[Mapping[str, Any]]]) -> None:
        """Replace the corrections of some images."""
        cursor = self._connection.cursor()
        rows = [
            [ordinal, *(row[name] for name in SAID_COLUMNS)] for ordinal, rows in said.items() for row in rows
        ]
        cursor.execute("begin")
        cursor.execute("delete from said where list_contains(?, ordinal)", [list(said)])
        if rows:
            cursor.executemany(f"insert into said values ({', '.join('?' * (1 + len(SAID_COLUMNS)))})", rows)
        cursor.execute("commit")

    def num_images(self) -> int:
        """Inputs of the run that have a row."""
        return self._one("select count(*) from images")

    def num_looked_at(self) -> int:
        """Of them, those of which something can be decided."""
        return self._one("select count(num_detections) from images")

    def num_decided(self) -> int:
        """Images of which all was decided."""
        return self._one("select count(*) from decided")

    def labels(self) -> list[LabelCount]:
        """All labels that were found, the most frequent first."""
        sql = "select label, min(label_id), count(*) as num from objects group by 1 order by num desc, label"
        rows = self._connection.cursor().execute(sql).fetchall()
        return [LabelCount(label or "", label_id or 0, num) for label, label_id, num in rows]

    def failures(self) -> dict[str, int]:
        """How many inputs failed, by error code, the most frequent first."""
        sql = (
            "select coalesce(error_code, status) as code, count(*) as num from images where status <> 'ok' "
            "group by 1 order by num desc, code"
        )
        return dict(self._connection.cursor().execute(sql).fetchall())

    def _one(self, sql: str) -> int:
        found = self._connection.cursor().execute(sql).fetchone()
        assert found is not None
        return int(found[0])

    def _rows(self, table: str, columns: Sequence[str], ordinals: Sequence[int]) -> Iterator[dict[str, Any]]:
        numbers = ", ".join(map(str, map(int, ordinals))) or "null"
        sql = f"select {', '.join(columns)} from {table} where ordinal in ({numbers})"
        cursor = self._connection.cursor().execute(sql)
        return (dict(zip(columns, row, strict=True)) for row in cursor.fetchall())


def build_index(
    run: Run, store: Store, said: Corrections, folder: Path, on_rows: OnRows | None = None
) -> RunIndex:
    """Read a run's rows once, a batch at a time.

    Args:
        run: of detections.
        store: that holds it.
        said: its corrections.
        folder: of this session, for the index.
        on_rows: told how many rows are done, now and then.
    """
    connection = duckdb.connect(str(folder / "index.duckdb"))
    connection.execute(f"set memory_limit = '{MEMORY_LIMIT}'")
    connection.execute(f"set temp_directory = '{str(folder / 'spilled').replace(chr(39), chr(39) * 2)}'")
    connection.execute(_TABLES)
    for table in _tables(run.parts, store):
        _insert(connection, table)
        if on_rows is not None:
            on_rows(table.column("ordinal")[-1].as_py() + 1)
    _insert_said(connection, said)
    connection.execute(f"create view decided as {decided('images', 'said', by='ordinal')}")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return RunIndex(connection)


_TABLES = """
create table images (
    ordinal bigint, part int, row int, uri varchar, etag varchar, frame_index int, timestamp_s double,
    width int, height int, status varchar, error_code varchar, error varchar, num_detections int);
create table objects (
    ordinal bigint, number int, label varchar, label_id int, score float, track_id bigint,
    x0 float, y0 float, x1 float, y1 float);
create table said (
    ordinal bigint, number int, action varchar, label varchar, x0 double, y0 double, x1 double, y1 double,
    track_id bigint, who varchar, made timestamptz, tool varchar, file varchar);
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


def _insert_said(connection: duckdb.DuckDBPyConnection, said: Corrections) -> None:
    if not said.places:
        return
    connection.register("corrections", said.table)
    connection.execute(
        f"insert into said select i.ordinal, {', '.join(f'c.{name}' for name in SAID_COLUMNS)} "
        "from corrections c join images i "
        "on i.uri = c.uri and i.frame_index is not distinct from c.frame_index"
    )
    connection.unregister("corrections")
