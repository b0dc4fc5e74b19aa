"""Reading and decoding: a unit's inputs become canvases, one block a unit."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Self

import numpy as np
import pyarrow as pa
import ray
from ray.data import DataContext, Dataset, Datasource
from ray.data.block import Block, BlockMetadata
from ray.data.datasource import ReadTask
from ray.util.annotations import RayDeprecationWarning

from cvcore.errors import ImageError
from cvcore.image.decode import decode_to_canvas, read_size
from cvcore.image.limits import DecodeLimits
from cvcore.types import InputSpec
from jobs.board import Tally
from jobs.plan import Plan
from jobs.schemas import canvas_schema
from jobs.set_aside import Reason, SetAside, StageName, read_set_aside, set_aside
from jobs.stages.guard import Guard, InputBounds
from jobs.storage import (
    Access,
    ObjectUnreadable,
    StorageError,
    Store,
    StoreUnreachable,
    is_s3,
    open_stage_store,
)

MAX_TASK_RETRIES = 2
READ_THREADS = 8
READ_AHEAD = 16
READ_AHEAD_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Quarantine:
    """Where a run keeps the inputs that end processes, and what bounds an input must keep.

    Attributes:
        uri: `RunFolder.quarantine`.
        bounds: what one input may take.
        known: by row of the plan, as read when the pipeline was built.
    """

    uri: str
    access: Access
    writer: str
    bounds: InputBounds
    known: Mapping[int, SetAside] = field(default_factory=dict)

    def refreshed(self) -> Quarantine:
        """With what is set aside by now."""
        return replace(self, known=read_set_aside(self.uri, self._store()))

    def guard(self, stage: StageName, plan: Plan | None = None) -> Guard:
        """A guard for this process; with a plan, it sets aside the input that exceeds its bounds."""

        def record(row: int, reason: Reason) -> None:
            assert plan is not None, "only a guard with a plan is told rows"
            item = SetAside(row, plan.uri_of(row), stage, reason)
            set_aside(self.uri, self._store(), item, writer=self.writer)

        return Guard(self.bounds, record)

    def _store(self) -> Store:
        return process_store(is_s3(self.uri), self.access)


@dataclass(frozen=True)
class DecodeStage:
    """What a decoding task needs besides its unit's number.

    With `sizes_alone` canvases stay empty: the pixels are read where they are looked at, by tiles.
    """

    plan: Any  # ray.ObjectRef[Plan]: the inputs are shared memory on every node
    access: Access
    input_spec: InputSpec
    limits: DecodeLimits
    tally: Tally
    quarantine: Quarantine
    sizes_alone: bool = False

    def unit_table(self, unit: int, *, computing: AbstractContextManager[object] | None = None) -> pa.Table:
        """Decode a unit: `jobs.schemas.canvas_schema`, a row for each input in the plan's order.

        `computing` is held while decoding, not while the first inputs are waited for.
        """
        began = time.monotonic()
        plan: Plan = ray.get(self.plan)
        start, count = plan.unit_rows(unit)
        # What ended an attempt before may have been set aside since the pipeline was built.
        again = self.tally.begin("decode", unit) > 1
        stage = replace(self, quarantine=self.quarantine.refreshed()) if again else self
        table = stage.decode_rows(range(start, start + count), unit=unit, computing=computing)
        self.tally.done("decode", unit, table.column("status"), seconds=time.monotonic() - began)
        return table

    def decode_rows(
        self,
        rows: Sequence[int],
        *,
        unit: int,
        computing: AbstractContextManager[object] | None = None,
    ) -> pa.Table:
        """Decode some rows of the plan; those set aside are not touched."""
        plan: Plan = ray.get(self.plan)
        inputs = plan.inputs.rows(rows).to_pylist()
        for item, row in zip(inputs, rows, strict=True):
            item |= {"row": row, "set_aside": self.quarantine.known.get(row)}
        store = process_store(is_s3(inputs[0]["uri"]), self.access)
        guard = self.quarantine.guard("decode", plan)
        if rows[0] >= plan.inputs.num_images:
            from jobs.stages.decode_video import decode_video_unit  # imports FFmpeg

            (segment,) = inputs
            with computing or nullcontext():
                found = decode_video_unit(segment, store, self.input_spec, self.limits, guard=guard)
            return canvas_table(*found, self.input_spec, unit=unit)
        return decode_inputs(
            inputs,
            store,
            self.input_spec,
            self.limits,
            unit=unit,
            guard=guard,
            computing=computing,
            sizes_alone=self.sizes_alone,
        )


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


@contextmanager
def bounding_retries() -> Iterator[None]:
    """Retries are endless unless bounded, and there is no parameter for it that Ray does not warn of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RayDeprecationWarning)
        yield


def decoded_units(stage: DecodeStage, units: list[int], *, rows_per_unit: int, num_cpus: float) -> Dataset:
    """The lazily read dataset of some units, a block (`jobs.schemas.canvas_schema`) for each."""
    with bounding_retries():
        return ray.data.read_datasource(
            UnitSource(stage, units, rows_per_unit=rows_per_unit),
            override_num_blocks=len(units),
            num_cpus=num_cpus,
            ray_remote_args={"max_retries": MAX_TASK_RETRIES},
        )


@dataclass(frozen=True)
class _UnitRead:
    stage: DecodeStage
    unit: int

    def __call__(self) -> Iterable[Block]:
        yield self.stage.unit_table(self.unit)


@lru_cache(maxsize=4)
def process_store(s3: bool, access: Access) -> Store:
    """This worker process's own store: sessions are kept between tasks and never cross a fork."""
    return open_stage_store(s3=s3, access=access)


def decode_inputs(
    inputs: list[dict[str, Any]],
    store: Store,
    spec: InputSpec,
    limits: DecodeLimits,
    *,
    unit: int,
    guard: Guard | None = None,
    computing: AbstractContextManager[object] | None = None,
    sizes_alone: bool = False,
) -> pa.Table:
    """Read inputs ahead in threads and decode them in order; each failure costs its own row alone.

    With `sizes_alone` headers are judged, and canvases stay empty.

    Raises:
        StorageError: if the store itself fails, so that no input is to blame.
    """
    with _Reader(inputs, store, limits) as reader, computing or nullcontext():
        return _decode_all(reader, spec, limits, unit=unit, guard=guard, sizes_alone=sizes_alone)


def _decode_all(
    reader: _Reader,
    spec: InputSpec,
    limits: DecodeLimits,
    *,
    unit: int,
    guard: Guard | None,
    sizes_alone: bool,
) -> pa.Table:
    canvases = np.zeros((len(reader), spec.num_bytes), dtype=np.uint8)
    rows: list[dict[str, Any]] = []
    for index, (item, body) in enumerate(reader):
        row: dict[str, Any] = {"uri": item["uri"], "etag": item["etag"], "status": "ok"}
        rows.append(row)
        if aside := item.get("set_aside"):
            row |= {"status": aside.stage, "error_code": aside.reason, "error": aside.message}
            continue
        try:
            content = body.result()
            with guard.on(item["row"]) if guard else nullcontext():
                if sizes_alone:
                    row["width"], row["height"] = read_size(content, limits=limits, name=item["uri"])
                    continue
                found = decode_to_canvas(content, spec, limits=limits, name=item["uri"])
            row |= {"width": found.fit.source_width, "height": found.fit.source_height}
            canvases[index] = found.canvas.reshape(-1)
        except ImageError as error:
            row |= {"status": "decode", "error_code": error.code, "error": str(error)}
        except StorageError as error:
            if error.whole_store:
                raise
            row |= {"status": "read", "error_code": error.code, "error": str(error)}
        except Exception as error:  # noqa: BLE001  # a defect that one input brings out must not cost its neighbours
            row |= {
                "status": "decode",
                "error_code": "unexpected",
                "error": f"{type(error).__name__}: {error}",
            }
    return canvas_table(rows, canvases, spec, unit=unit)


class _Reader:
    """Inputs with their bodies to come, in order.

    Begins to read at once; what is read ahead is bounded in number and, by listed size, in bytes.
    """

    def __init__(self, inputs: list[dict[str, Any]], store: Store, limits: DecodeLimits) -> None:
        self._inputs = inputs
        self._store = store
        self._limits = limits
        self._pool = ThreadPoolExecutor(READ_THREADS)
        self._started = 0
        self._waiting: deque[Future[bytes]] = deque()
        self._bytes_ahead = 0
        self._fill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __len__(self) -> int:
        return len(self._inputs)

    def __iter__(self) -> Iterator[tuple[dict[str, Any], Future[bytes]]]:
        for item in self._inputs:
            yield item, self._waiting.popleft()
            self._bytes_ahead -= item["size"]
            self._fill()

    def _fill(self) -> None:
        for item in self._inputs[self._started :]:
            full = len(self._waiting) >= READ_AHEAD or self._bytes_ahead + item["size"] > READ_AHEAD_BYTES
            if full and self._waiting:
                return
            neighbour = self._inputs[self._started - 1]["uri"]
            self._waiting.append(self._pool.submit(_read, item, neighbour, self._store, self._limits))
            self._bytes_ahead += item["size"]
            self._started += 1


def _read(item: dict[str, Any], neighbour: str, store: Store, limits: DecodeLimits) -> bytes:
    if item.get("set_aside"):
        return b""
    if item["size"] > limits.max_bytes:
        raise ImageError(
            "too_many_bytes", f"{item['size']} bytes are more than limits.max_bytes = {limits.max_bytes}"
        )
    try:
        return store.read(item["uri"], etag=item["etag"])
    except StoreUnreachable:
        store.exists(neighbour)  # raises in its turn, unless this object alone cannot be had
    try:
        return store.read(item["uri"], etag=item["etag"])
    except StoreUnreachable as error:
        raise ObjectUnreadable(str(error)) from error


def canvas_table(
    rows: list[dict[str, Any]], canvases: np.ndarray[Any, np.dtype[np.uint8]], spec: InputSpec, *, unit: int
) -> pa.Table:
    """Rows with their canvases, (N, bytes of one) uint8, as `jobs.schemas.canvas_schema`."""
    schema = canvas_schema(spec.num_bytes)
    names = [name for name in schema.names if name not in ("unit", "canvas")]
    columns = [pa.array([row.get(name) for row in rows], schema.field(name).type) for name in names]
    valid = pa.array([row["status"] == "ok" for row in rows]).buffers()[1]
    pixels = pa.Array.from_buffers(schema.field("canvas").type, len(rows), [valid, pa.py_buffer(canvases)])
    units = pa.array([unit] * len(rows), pa.int32())
    return pa.Table.from_arrays([units, *columns, pixels], schema=schema)
