"""A run's rows as exports take them: one image after the other, few in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.export.names import image_name
from jobs.storage import Store

BATCH_ROWS = 512
MASK_BATCH_ROWS = 64

_ROW_COLUMNS = ("uri", "frame_index", "timestamp_s", "width", "height", "status", "error_code", "error")
_BOX_COLUMNS = ("box", "label", "label_id", "score", "track_id", "interpolated")

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Found:
    """One detection.

    Attributes:
        number: its place in the row, from 0, whatever is left out.
        ordinal: its place in the run, from 1, likewise.
        box: xyxy, pixels, as the run's float32 have them.
        label_id: of the model.
        score: None where a person or a tool that gives none says it.
        track_id: None for what belongs to no track.
        mask: COCO compressed RLE at the image's size; None of models without masks.
    """

    number: int
    ordinal: int
    box: Box
    label: str
    label_id: int
    score: float | None
    track_id: int | None = None
    interpolated: bool = False
    mask: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ExportRow:
    """An input of the run.

    Attributes:
        ordinal: its place in the run, from 1.
        uri: as the run has it.
        name: what exports call it.
        frame_index, timestamp_s: None for images.
        width, height: pixels; None where the run does not know them.
        status: `ok`, or the stage that failed.
        found: None where the input was not looked at; empty where nothing was found, or is left.
        map: a segmenter's, where they are read.
    """

    ordinal: int
    uri: str
    name: str
    frame_index: int | None
    timestamp_s: float | None
    width: int | None
    height: int | None
    status: str
    error_code: str | None
    error: str | None
    found: tuple[Found, ...] | None
    map: bytes | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """Which detections are taken: of these labels (all, if none is named) and with at least this score."""

    labels: tuple[str, ...] = ()
    min_score: float = 0.0

    def takes(self, label: str, score: float | None) -> bool:
        return (not self.labels or label in self.labels) and (score is None or score >= self.min_score)

    def narrow(self, row: ExportRow) -> ExportRow:
        """A row that was looked at, with the detections that are taken."""
        return replace(row, found=tuple(f for f in row.found or () if self.takes(f.label, f.score)))


def iter_rows(
    parts: Sequence[str],
    store: Store,
    *,
    source: str,
    choice: Choice,
    masks: bool = True,
    maps: bool = False,
) -> Iterator[ExportRow]:
    """All rows of some parts in order.

    Args:
        parts: the run's, see `jobs.report.run.Run.parts`.
        store: that holds them.
        source: of the run, which names are relative to.
        choice: of detections; a row stays, even with none.
        masks, maps: whether they are read, by far the largest columns.
    """
    row_start = found_start = 1
    for part in parts:
        with store.open(part) as opened:
            file = pq.ParquetFile(pa.PythonFile(opened, mode="r"))
            paths = [file.schema.column(k).path for k in range(len(file.schema))]
            has_masks = any(".mask." in path for path in paths)
            wanted = [path for path in paths if _is_wanted(path, masks=masks, maps=maps)]
            size = MASK_BATCH_ROWS if maps or (masks and has_masks) else BATCH_ROWS
            for batch in file.iter_batches(batch_size=size, columns=wanted):
                rows = _Batch(batch, row_start=row_start, found_start=found_start, source=source)
                yield from rows.read(choice)
                row_start += batch.num_rows
                found_start += rows.num_found


def _is_wanted(path: str, *, masks: bool, maps: bool) -> bool:
    head, _, rest = path.partition(".")
    if head == "map":
        return maps
    if head != "detections":
        return head in _ROW_COLUMNS
    parts = rest.split(".")
    return (masks and "mask" in parts) or any(name in parts for name in _BOX_COLUMNS)


class _Batch:
    """One record batch, its columns as lists."""

    def __init__(self, batch: pa.RecordBatch, *, row_start: int, found_start: int, source: str) -> None:
        self._columns = {name: batch.column(name).to_pylist() for name in _ROW_COLUMNS}
        self._maps = batch.column("map").to_pylist() if "map" in batch.schema.names else None
        self._row_start, self._found_start, self._source = row_start, found_start, source
        self._looked, self._offsets, values = _split(batch)
        self.num_found = len(values)
        self._boxes = _boxes(values).tolist()
        self._fields = {name: _values(values, name) for name in (*_BOX_COLUMNS[1:], "mask")}

    def read(self, choice: Choice) -> Iterator[ExportRow]:
        for k, values in enumerate(zip(*self._columns.values(), strict=True)):
            uri, frame_index, timestamp_s, width, height, status, error_code, error = values
            yield ExportRow(
                self._row_start + k,
                uri,
                image_name(uri, frame_index, self._source),
                frame_index,
                timestamp_s,
                width,
                height,
                status,
                error_code,
                error,
                self._found(k, choice) if self._looked[k] else None,
                None if self._maps is None else self._maps[k],
            )

    def _found(self, row: int, choice: Choice) -> tuple[Found, ...]:
        start, stop = self._offsets[row], self._offsets[row + 1]
        fields = self._fields
        labels, scores = fields["label"], fields["score"]
        return tuple(
            Found(
                at - start,
                self._found_start + at,
                tuple(self._boxes[at]),
                labels[at] or "",
                fields["label_id"][at] or 0,
                scores[at],
                fields["track_id"][at],
                bool(fields["interpolated"][at]),
                fields["mask"][at],
            )
            for at in range(start, stop)
            if choice.takes(labels[at] or "", scores[at])
        )


def _split(batch: pa.RecordBatch) -> tuple[list[bool], list[int], pa.Array]:
    """Which rows were looked at, where each row's detections begin, and all of these."""
    if "detections" not in batch.schema.names:
        return [False] * batch.num_rows, [0] * (batch.num_rows + 1), pa.array([], pa.struct([]))
    column = batch.column("detections")
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return column.is_valid().to_pylist(), offsets.astype(int).tolist(), pc.list_flatten(column)


def _boxes(values: pa.Array) -> npt.NDArray[np.float64]:
    if not len(values):
        return np.zeros((0, 4))
    flat = pc.list_flatten(pc.struct_field(values, "box")).to_numpy(zero_copy_only=False)
    return np.asarray(flat.astype(np.float64).reshape(-1, 4))


def _values(values: pa.Array, name: str) -> list[Any]:
    if name not in [field.name for field in values.type]:
        return [None] * len(values)
    found: list[Any] = pc.struct_field(values, name).to_pylist()
    return found
