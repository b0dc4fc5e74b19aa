"""Writing what rows hold, or stand for, as files of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from cvcore.errors import SpecError
from jobs.run_folder import RunFolder, read_job
from jobs.run_rows import iter_tables
from jobs.storage import Access, Store, join, name_below, open_store, resolve_location


@dataclass(frozen=True)
class Written:
    """Pictures that were written, and rows that held none."""

    uri: str
    num_images: int
    num_failed: int


def write_pictures(
    run_uri: str,
    out: str,
    column: str,
    picture: Callable[[dict[str, Any]], bytes],
    *,
    access: Access,
) -> Written:
    """Write a picture for each row that has something in a column, under its input's name.

    Args:
        run_uri: a finished run.
        out: where to.
        column: that rows without a picture have null.
        picture: makes a row's PNG.
        access: to both.

    Raises:
        SpecError: for a run that is not finished, or has no such column.
    """
    folder = RunFolder(resolve_location(run_uri).rstrip("/"))
    store = open_store(folder.uri, access)
    record = read_job(folder, store)
    if record is None or not store.exists(folder.success):
        raise SpecError(f"{folder.uri} is no finished run: name the --out of a job")
    target = resolve_location(out).rstrip("/")
    sink = open_store(target, access)
    written = failed = 0
    for row in _rows(folder, store, column):
        if row[column] is None:
            failed += 1
            continue
        name = PurePosixPath(name_below(row["uri"], record.source))
        frame = "" if row["frame_index"] is None else f"-{row['frame_index']:06d}"
        sink.put(join(target, str(name.with_name(f"{name.stem}{frame}.png")).lstrip("/")), picture(row))
        written += 1
    return Written(target, written, failed)


def _rows(folder: RunFolder, store: Store, column: str) -> Iterator[dict[str, Any]]:
    for table in iter_tables(folder, store, ("uri", "frame_index", column)):
        if column not in table.column_names:
            raise SpecError(f"{folder.uri} holds no column {column!r}: it is the run of another job")
        yield from table.to_pylist()
