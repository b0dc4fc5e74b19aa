"""Pinned inputs: what is listed comes back by row, whatever lies in which row group."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from jobs import pinned
from jobs.pinned import DIGEST_KEY, GROUP_ROWS, PinnedInputs, pin_inputs
from jobs.plan import MAX_IMAGES_PER_UNIT
from jobs.schemas import PLAN_SCHEMA
from jobs.storage import ObjectInfo

NUM_INPUTS = 2 * GROUP_ROWS + 5


def listed(count: int) -> Iterator[ObjectInfo]:
    return (ObjectInfo(f"s3://fleet/é \n%/{i:09d}.jpg", f"etag-{i}", i) for i in range(count))


def numbers(table: pa.Table) -> list[int]:
    """Which rows a table holds; `size` is the row's number."""
    assert table.schema.equals(PLAN_SCHEMA)
    found: list[int] = table.column("size").to_pylist()
    assert table.column("etag").to_pylist() == [f"etag-{i}" for i in found]
    return found


@pytest.fixture(scope="module")
def inputs() -> PinnedInputs:
    return pin_inputs(listed(NUM_INPUTS))


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(range(0), id="none"),
        pytest.param(range(256), id="a first unit"),
        pytest.param(range(GROUP_ROWS - 10, GROUP_ROWS + 10), id="across two groups"),
        pytest.param(range(GROUP_ROWS, NUM_INPUTS), id="a whole group and the rest"),
        pytest.param([NUM_INPUTS - 1, 0, GROUP_ROWS, 1, 1], id="any order, twice"),
    ],
)
def test_rows_come_back_by_number(inputs: PinnedInputs, asked: range | list[int]) -> None:
    assert numbers(inputs.rows(asked)) == list(asked)


def test_every_unit_of_any_size_gets_its_rows(inputs: PinnedInputs) -> None:
    for size in random.Random(1).sample(range(1, MAX_IMAGES_PER_UNIT + 1), 4):
        starts = range(0, NUM_INPUTS, size)
        units = [inputs.rows(range(start, min(start + size, NUM_INPUTS))) for start in starts]
        assert numbers(pa.concat_tables(units)) == list(range(NUM_INPUTS))


def test_a_row_that_is_not_there_is_an_error(inputs: PinnedInputs) -> None:
    with pytest.raises(IndexError):
        inputs.rows([NUM_INPUTS])


def test_the_digest_is_that_of_the_lines_in_order(inputs: PinnedInputs) -> None:
    lines = "".join(f"{i.uri}\0{i.etag}\0{i.size}\n" for i in listed(NUM_INPUTS))
    assert inputs.digest == hashlib.sha256(lines.encode()).hexdigest()
    assert inputs != pin_inputs(listed(NUM_INPUTS - 1))


def test_what_is_stored_comes_back_and_other_readers_open_it(inputs: PinnedInputs, tmp_path: Path) -> None:
    body = inputs.parquet.to_pybytes()
    assert PinnedInputs.from_parquet(body) == inputs
    assert len(body) < 40 * NUM_INPUTS
    path = tmp_path / "plan.parquet"
    path.write_bytes(body)
    found = duckdb.sql(f"select count(*), min(uri), max(uri), sum(size) from '{path}'").fetchall()
    first, last = (inputs.rows([row]).column("uri")[0].as_py() for row in (0, NUM_INPUTS - 1))
    assert found == [(NUM_INPUTS, first, last, sum(range(NUM_INPUTS)))]


@pytest.mark.parametrize("body", [b"", b"PAR1 and nonsense PAR1"])
def test_what_is_no_plan_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        PinnedInputs.from_parquet(body)


def test_another_parquet_file_is_refused(inputs: PinnedInputs) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(inputs.rows(range(3)), sink)
    with pytest.raises(ValueError, match=DIGEST_KEY):
        PinnedInputs.from_parquet(sink.getvalue())


def test_neighbouring_units_decode_a_group_once(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = pin_inputs(listed(GROUP_ROWS + 1))
    opened: list[int] = []
    real = pinned.pq.ParquetFile

    def opening(*arguments: object, **options: object) -> object:
        opened.append(1)
        return real(*arguments, **options)

    monkeypatch.setattr(pinned.pq, "ParquetFile", opening)
    for start in range(0, GROUP_ROWS, 256):
        mine.rows(range(start, start + 256))
    assert len(opened) == 1


@pytest.mark.usefixtures("ray_cluster")
def test_workers_share_one_copy(inputs: PinnedInputs) -> None:
    reference = ray.put(inputs)
    first, second = ray.get(reference), ray.get(reference)
    assert first == inputs
    assert first.parquet.address == second.parquet.address, "both are the object store's memory"
    assert numbers(first.rows([7])) == [7]
