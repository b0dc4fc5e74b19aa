"""Readers poll a big job's output while it runs, while its driver is killed, and while a rerun ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pytest

from jobs.plan import MAX_FILES, MAX_IMAGES_PER_UNIT, choose_images_per_unit, choose_units_per_file
from tests.conftest import point_at
from tests.faults.conftest import local_job, s3_job
from tests.faults.numbered import Harm
from tests.faults.record import full, record
from tests.faults.results import differences, read_result
from tests.s3_servers import ACCESS_KEY, SECRET_KEY, S3Server

IMAGES_PER_UNIT = 16
UNITS_PER_FILE = 5
POLL_PAUSE_S = 0.1

Read = Callable[[], list[tuple[str, str]]]


@dataclass
class Reader:
    """Reads all rows again and again; what it sees may only grow.

    `read` gives (uri, everything else of the row as text), a pair for each row there is.
    """

    name: str
    read: Read
    seen: dict[str, str] = field(default_factory=dict)
    polls: int = 0
    sizes: set[int] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def poll(self) -> None:
        try:
            rows = self.read()
        except Exception as error:  # noqa: BLE001 - whatever a reader stumbles over is the finding
            self.wrong.append(f"{self.name} could not read: {error}")
            return
        now = dict(rows)
        if len(now) != len(rows):
            self.wrong.append(f"{self.name} saw {len(rows) - len(now)} doubled rows")
        changed = [uri for uri, row in self.seen.items() if now.get(uri) != row]
        if changed:
            self.wrong.append(f"{self.name} saw {len(changed)} rows change or go, {changed[0]} first")
        self.polls += 1
        self.sizes.add(len(rows))
        self.seen = now

    def poll_until(self, stop: threading.Event) -> None:
        while not stop.wait(POLL_PAUSE_S):
            self.poll()
        self.poll()


def arrow_reader(dataset: Callable[[], ds.Dataset]) -> Reader:
    """As pandas, Polars and Ray Data read a folder."""

    def read() -> list[tuple[str, str]]:
        return [(row["uri"], repr(row)) for row in dataset().to_table().to_pylist()]

    return Reader("pyarrow", read)


def duckdb_reader(dataset: Callable[[], ds.Dataset]) -> Reader:
    """DuckDB by its own Parquet reader where the files are local, over Arrow's where they are on S3."""

    def read() -> list[tuple[str, str]]:
        found = dataset()
        if not found.files:
            return []
        connection = duckdb.connect()
        local = isinstance(found.filesystem, pafs.LocalFileSystem)
        rows = connection.read_parquet(found.files) if local else connection.from_arrow(found)
        pairs: list[tuple[str, str]] = rows.query("rows", "select uri, rows::varchar from rows").fetchall()
        return pairs

    return Reader("DuckDB", read)


def open_dataset(out: str, server: S3Server | None) -> ds.Dataset:
    """The folder `data/` as it is now; empty where there is none yet."""
    if server is None:
        files: pafs.FileSystem = pafs.LocalFileSystem()
    else:
        keys = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
        files = pafs.S3FileSystem(**keys, endpoint_override=server.url, region="us-east-1")
    below = pafs.FileSelector(f"{out.removeprefix('s3://')}/data", allow_not_found=True)
    options = ds.FileSystemFactoryOptions(exclude_invalid_files=False)
    return ds.FileSystemDatasetFactory(files, below, ds.ParquetFileFormat(), options).finish()


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_readers_never_see_a_partial_doubled_or_changing_row(
    kind: Literal["local", "s3"],
    address: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    num_images = 4000 if full() else 640
    sink = {"images_per_unit": IMAGES_PER_UNIT, "units_per_file": UNITS_PER_FILE}
    if kind == "s3":
        server = request.getfixturevalue("best_s3")
        point_at(server, monkeypatch)
        job = s3_job(server, tmp_path, num_images, **sink)
    else:
        job = local_job(tmp_path, num_images, **sink)
    expected, book = job.undisturbed(address)
    num_files = -(-num_images // (IMAGES_PER_UNIT * UNITS_PER_FILE))
    assert len(expected.files) == num_files
    out = job.new_out()
    dataset = partial(open_dataset, out, job.server)
    readers = [arrow_reader(dataset), duckdb_reader(dataset)]
    stop = threading.Event()
    threads = [threading.Thread(target=reader.poll_until, args=(stop,)) for reader in readers]
    for thread in threads:
        thread.start()
    try:
        middle = book.number_of("create", f"data/part-{num_files // 3:05d}.parquet")
        killed = job.run(out, address=address, harm=Harm(middle, "after"))
        again = job.run(out, address=address)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert killed.code < 0
    assert again.code == 0, again.output
    wrong = [what for reader in readers for what in reader.wrong] + differences(expected, read_result(out))
    record(
        f"readers, {kind}",
        attack="driver killed and run again under pyarrow and DuckDB readers that poll",
        trials=sum(reader.polls for reader in readers),
        differences=len(wrong),
        failures=1,
        rerun="complete" if again.code == 0 else "failed",
        inputs=num_images,
        files=num_files,
        states_seen=max(len(reader.sizes) for reader in readers),
    )
    assert wrong == []
    for reader in readers:
        assert len(reader.seen) == num_images
        assert any(0 < size < num_images for size in reader.sizes), "no reader looked while there was a part"


@pytest.mark.parametrize("canvas_px", [64, 320, 640, 1333])
def test_ten_million_inputs_make_as_many_files_as_they_must(canvas_px: int) -> None:
    per_unit = choose_images_per_unit(10_000_000, canvas_px * canvas_px * 3)
    num_units = -(-10_000_000 // per_unit)
    per_file = choose_units_per_file(num_units)
    num_files = -(-num_units // per_file)
    assert per_unit <= MAX_IMAGES_PER_UNIT
    assert MAX_FILES / 2 < num_files <= MAX_FILES, (
        "no more files than readers bear, none smaller than it must"
    )
    assert -(-num_units // (per_file - 1)) > MAX_FILES
