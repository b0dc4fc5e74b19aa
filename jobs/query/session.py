"""Asking a run: DuckDB over its committed rows, with no way to any other file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from cvcore.errors import SpecError
from jobs.query.dataset import parquet_dataset
from jobs.query.views import CORRECTIONS, ROWS, TRACKS, run_views
from jobs.report.run import read_run
from jobs.run_folder import RunFolder
from jobs.storage import Access, Store, join, open_store, resolve_location

_CHUNK_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gave: `rows` are read as they are taken, a chunk at a time."""

    columns: tuple[str, ...]
    rows: Iterator[tuple[Any, ...]]


class RunQuery:
    """A run opened for SQL; make it with `open_query`.

    Attributes:
        views: the columns of each view.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, views: Mapping[str, tuple[str, ...]]) -> None:
        self._connection = connection
        self.views = views

    def ask(self, sql: str) -> Answer:
        """Run one SELECT.

        Raises:
            SpecError: for what is no single SELECT, or fails; the message lists the views and their columns.
        """
        try:
            statements = self._connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise SpecError(f"one SELECT is answered, and nothing is changed. {self._shown()}")
            cursor = self._connection.execute(statements[0])
        except duckdb.Error as error:
            raise SpecError(f"{_plain(error)}\n{self._shown()}") from error
        return Answer(tuple(column[0] for column in cursor.description or ()), self._rows(cursor))

    def _rows(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
        try:
            while chunk := cursor.fetchmany(_CHUNK_ROWS):
                yield from chunk
        except duckdb.Error as error:
            raise SpecError(f"{_plain(error)}\n{self._shown()}") from error

    def _shown(self) -> str:
        lines = [f"  {view}: {', '.join(columns)}" for view, columns in self.views.items()]
        return "Views:\n" + "\n".join(lines)


def open_query(run: str, *, access: Access) -> RunQuery:
    """Open a run, finished or not: each of its published rows is there once.

    Raises:
        SpecError: if the folder is not a run's, or it has no rows yet.
    """
    uri = resolve_location(run)
    store = open_store(uri, access)
    parts = read_run(uri, store).parts
    if not parts:
        raise SpecError(f"{uri} has no rows yet: no part of it is published")
    tables = {ROWS: parquet_dataset(parts, store)}
    folder = RunFolder(uri)
    if store.exists(folder.tracks):
        tables[TRACKS] = parquet_dataset([folder.tracks], store)
    if imports := correction_files(folder, store):
        tables[CORRECTIONS] = parquet_dataset(imports, store)
    connection = duckdb.connect(":memory:")
    for name, table in tables.items():
        connection.register(name, table)
    for name, body in run_views(tables[ROWS].schema, tables).items():
        connection.execute(f"create view {name} as {body}")
    connection.execute("set timezone = 'UTC'")
    connection.execute("set enable_external_access = false")
    connection.execute("set python_enable_replacements = false")
    connection.execute("set lock_configuration = true")
    found = connection.execute("select view_name from duckdb_views() where not internal").fetchall()
    names = [str(name) for (name,) in found if name not in tables]
    return RunQuery(connection, {name: _columns(connection, name) for name in sorted(names)})


def correction_files(folder: RunFolder, store: Store) -> list[str]:
    """What was imported into a run, the oldest first."""
    names = [name for name in store.list_names(folder.corrections) if name.endswith(".parquet")]
    return [join(folder.corrections, name) for name in names]


def _columns(connection: duckdb.DuckDBPyConnection, view: str) -> tuple[str, ...]:
    return tuple(str(row[0]) for row in connection.execute(f"describe {view}").fetchall())


def _plain(error: duckdb.Error) -> str:
    return str(error).strip()
