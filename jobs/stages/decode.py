"""Reading and decoding: a unit's inputs become canvases, one block a unit."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.data import DataContext, Datasource
from ray.data.block import Block, BlockMetadata
from ray.data.datasource import ReadTask

from cvcore.errors import ImageError
from cvcore.image.decode import decode_to_canvas
from cvcore.image.limits import DecodeLimits
from cvcore.types import InputSpec
from jobs.board import Tally
from jobs.plan import Plan
from jobs.schemas import canvas_schema
from jobs.storage import Access, StorageError, Store, is_s3, open_store

READ_THREADS = 8
READ_AHEAD = 16
CRASHED = "the process that worked on this input died each time; it was set aside"


@dataclass(frozen=True)
class DecodeStage:
    """What a decoding task needs besides its unit's number."""

    plan: Any  # ray.ObjectRef[Plan]: the inputs are shared memory on every node
    access: Access
    input_spec: InputSpec
    limits: DecodeLimits
    tally: Tally
    quarantined: Mapping[int, str] = field(default_factory=dict)

    def unit_table(self, unit: int) -> pa.Table:
        """Decode a unit: `jobs.schemas.canvas_schema`, a row for each input in the plan's order."""
        plan: Plan = ray.get(self.plan)
        start, count = plan.unit_rows(unit)
        with self.tally.working_on("decode", unit):
            table = self.decode_rows(range(start, start + count), unit=unit)
        num_ok = table.column("status").to_pylist().count("ok")
        self.tally.add("decode", unit, ok=num_ok, failed=count - num_ok)
        return table

    def decode_rows(self, rows: Sequence[int], *, unit: int) -> pa.Table:
        """Decode some rows of the plan; those set aside are not touched."""
        plan: Plan = ray.get(self.plan)
        inputs = plan.inputs.rows(rows).to_pylist()
        for item, row in zip(inputs, rows, strict=True):
            item["ended"] = self.quarantined.get(row)
        store = process_store(is_s3(inputs[0]["uri"]), self.access)
        return decode_inputs(inputs, store, self.input_spec, self.limits, unit=unit)


class UnitSource(Datasource):  # type: ignore[misc]  # Ray ships no types
    """A Ray Data source with one read task, and one block, for each unit."""

    def __init__(self, stage: DecodeStage, units: list[int], *, rows_per_unit: int) -> None:
        self._stage = stage
        self._units = units
        self._rows_per_unit = rows_per_unit

    def estimate_inmemory_data_size(self) -> int | None:
        return len(self._units) * self._rows_per_unit * self._stage.input_spec.num_bytes

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: DataContext | None = None,
    ) -> list[ReadTask]:
        """One task a unit, whatever `parallelism` says: a unit is the grain of retry and resume."""
        del parallelism, per_task_row_limit, data_context
        size = self._rows_per_unit * self._stage.input_spec.num_bytes
        metadata = BlockMetadata(
            num_rows=self._rows_per_unit, size_bytes=size, input_files=None, exec_stats=None
        )
        return [ReadTask(_UnitRead(self._stage, unit), metadata) for unit in self._units]


@dataclass(frozen=True)
class _UnitRead:
    stage: DecodeStage
    unit: int

    def __call__(self) -> Iterable[Block]:
        yield self.stage.unit_table(self.unit)


@lru_cache(maxsize=4)
def process_store(s3: bool, access: Access) -> Store:
    """This worker process's own store: sessions are kept between tasks and never cross a fork."""
    return open_store("s3://" if s3 else "/", access)


def decode_inputs(
    inputs: list[dict[str, Any]], store: Store, spec: InputSpec, limits: DecodeLimits, *, unit: int
) -> pa.Table:
    """Read inputs ahead in threads and decode them in order; each failure costs its own row alone."""
    canvases = np.zeros((len(inputs), spec.num_bytes), dtype=np.uint8)
    rows: list[dict[str, Any]] = []
    for index, (item, body) in enumerate(_read_ahead(inputs, store, limits)):
        row: dict[str, Any] = {"uri": item["uri"], "etag": item["etag"], "status": "ok"}
        rows.append(row)
        if item.get("ended"):
            row |= {"status": item["ended"], "error_code": "crashed", "error": CRASHED}
            continue
        try:
            found = decode_to_canvas(body.result(), spec, limits=limits, name=item["uri"])
            row |= {"width": found.fit.source_width, "height": found.fit.source_height}
            canvases[index] = found.canvas.reshape(-1)
        except ImageError as error:
            row |= {"status": "decode", "error_code": error.code, "error": str(error)}
        except StorageError as error:
            row |= {"status": "read", "error_code": error.code, "error": str(error)}
    return _canvas_table(rows, canvases, spec, unit=unit)


def _read_ahead(
    inputs: list[dict[str, Any]], store: Store, limits: DecodeLimits
) -> Iterator[tuple[dict[str, Any], Future[bytes]]]:
    with ThreadPoolExecutor(READ_THREADS) as pool:
        waiting: deque[tuple[dict[str, Any], Future[bytes]]] = deque()
        for item in inputs:
            waiting.append((item, pool.submit(_read, item, store, limits)))
            if len(waiting) >= READ_AHEAD:
                yield waiting.popleft()
        yield from waiting


def _read(item: dict[str, Any], store: Store, limits: DecodeLimits) -> bytes:
    if item.get("ended"):
        return b""
    if item["size"] > limits.max_bytes:
        raise ImageError(
            "too_many_bytes", f"{item['size']} bytes are more than limits.max_bytes = {limits.max_bytes}"
        )
    return store.read(item["uri"], etag=item["etag"])


def _canvas_table(
    rows: list[dict[str, Any]], canvases: np.ndarray[Any, np.dtype[np.uint8]], spec: InputSpec, *, unit: int
) -> pa.Table:
    schema = canvas_schema(spec.num_bytes)
    names = [name for name in schema.names if name not in ("unit", "canvas")]
    columns = [pa.array([row.get(name) for row in rows], schema.field(name).type) for name in names]
    valid = pa.array([row["status"] == "ok" for row in rows]).buffers()[1]
    pixels = pa.Array.from_buffers(schema.field("canvas").type, len(rows), [valid, pa.py_buffer(canvases)])
    units = pa.array([unit] * len(rows), pa.int32())
    return pa.Table.from_arrays([units, *columns, pixels], schema=schema)
