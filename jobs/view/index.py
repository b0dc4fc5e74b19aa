"""The index that a page asks: a run's rows, what people said of them, and selections of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from jobs.export.corrected import Corrections
from jobs.query.row_index import OnRows, RowIndex, create_index, fill_rows, seal
from jobs.query.views import decided
from jobs.report.run import Run
from jobs.storage import Store
from jobs.view.filters import Filter, selection_sql

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


class ViewIndex(RowIndex):
    """Make it with `build_index`. Safe for several threads; `put_said` from one at a time."""

    def select(self, chosen: Filter) -> npt.NDArray[np.int64]:
        """Ordinals of a selection in its order, (N,)."""
        sql, parameters = selection_sql(chosen)
        found = self._connection.cursor().execute(sql, parameters).fetchnumpy()["ordinal"]
        return np.asarray(found, dtype=np.int64)

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

    def num_looked_at(self) -> int:
        """Of them, those of which something can be decided."""
        return self._one("select count(num_detections) from images")

    def num_decided(self) -> int:
        """Images of which all was decided."""
        return self._one("select count(*) from decided")

    def failures(self) -> dict[str, int]:
        """How many inputs failed, by error code, the most frequent first."""
        sql = (
            "select coalesce(error_code, status) as code, count(*) as num from images where status <> 'ok' "
            "group by 1 order by num desc, code"
        )
        return dict(self._connection.cursor().execute(sql).fetchall())


def build_index(
    run: Run, store: Store, said: Corrections, folder: Path, on_rows: OnRows | None = None
) -> ViewIndex:
    """Read a run's rows once, and its corrections.

    Args:
        run: of detections.
        store: that holds it.
        said: its corrections.
        folder: of this session, for the index.
        on_rows: told how many rows are done, now and then.
    """
    connection = create_index(folder)
    fill_rows(connection, run, store, on_rows)
    connection.execute(_SAID)
    _insert_said(connection, said)
    connection.execute(f"create view decided as {decided('images', 'said', by='ordinal')}")
    seal(connection)
    return ViewIndex(connection)


_SAID = """
create table said (
    ordinal bigint, number int, action varchar, label varchar, x0 double, y0 double, x1 double, y1 double,
    track_id bigint, who varchar, made timestamptz, tool varchar, file varchar)
"""


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
