"""Rows of a run's Parquet parts, as arrays: one batch at a time, without masks unless asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cvcore.datasets.coco_shapes import BACKGROUND

BATCH_ROWS = 4096
MASK_BATCH_ROWS = 64
VIDEO_BATCH_ROWS = 512
NO_FRAME = -1
PROPOSAL = "proposal"
"""What a proposal is called, which has no label."""
WITHOUT_DETAIL = ("map", "heatmap")
"""Columns that are as large as all others."""

Kind = Literal["detections", "proposals", "labels", "classes"]
"""Columns that hold what was found."""


def kind_of(names: Collection[str]) -> Kind:
    """What rows with these columns hold."""
    others: tuple[Kind, ...] = ("labels", "classes", "proposals")
    return next((kind for kind in others if kind in names), "detections")


@dataclass(frozen=True, slots=True)
class RowBatch:
    """N rows and their D detections, proposals, labels or classes; the first two have boxes.

    Attributes:
        uris, statuses, error_codes, errors: N strings each; empty where the column is null.
        frames: (N,) int64, `NO_FRAME` for images.
        ok: (N,) bool, whether the status is `ok`.
        widths, heights: (N,) int64 pixels, 0 where unknown.
        owner: (D,) int64, the row of each detection, ascending.
        labels: distinct labels of the batch.
        label_index: (D,) int64 into `labels`.
        label_ids: (D,) int64, the model's indices.
        scores: (D,) float64, 0 to 1.
        boxes: (D, 4) float32, xyxy, pixels of the source image; 0 for labels.
        kind: what a detection stands for: of a classifier's rows, an image's likeliest label; of a
            segmenter's, a class in an image's map, scored by its share of the pixels.
    """

    uris: list[str]
    statuses: list[str]
    error_codes: list[str]
    errors: list[str]
    frames: npt.NDArray[np.int64]
    ok: npt.NDArray[np.bool_]
    widths: npt.NDArray[np.int64]
    heights: npt.NDArray[np.int64]
    owner: npt.NDArray[np.int64]
    labels: list[str]
    label_index: npt.NDArray[np.int64]
    label_ids: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    boxes: npt.NDArray[np.float32]
    kind: Kind = "detections"

    def __len__(self) -> int:
        return len(self.uris)

    def detections_per_row(self) -> npt.NDArray[np.int64]:
        """(N,) number of detections."""
        return np.bincount(self.owner, minlength=len(self)).astype(np.int64)


def iter_batches(body: bytes, *, batch_rows: int = BATCH_ROWS) -> Iterator[RowBatch]:
    """Read one part in batches; masks, by far its largest column, are not decoded."""
    for batch in _slim_batches(body, batch_rows):
        yield decode_batch(batch)


def iter_video_rows(body: bytes, uri: str) -> Iterator[dict[str, Any]]:
    """Read the rows of one video's frames, masks left out, few at a time."""
    for batch in _slim_batches(body, VIDEO_BATCH_ROWS):
        mine = pc.and_(pc.equal(batch.column("uri"), uri), pc.is_valid(batch.column("frame_index")))
        yield from map(with_detections, batch.filter(mine).to_pylist())


def with_detections(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row whose proposals, likeliest label or classes are its detections; only the first have boxes."""
    kind = kind_of(row)
    if kind == "detections":
        return row
    told = row[kind]
    if kind == "proposals":
        return {**row, "detections": told and [{**each, "label": PROPOSAL, "label_id": 0} for each in told]}
    if kind == "labels":
        return {**row, "detections": told and [told[0] | {"box": None}]}
    return {**row, "detections": told and [each | {"box": None} for each in shares_of(row)]}


def shares_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The classes in a row's map but the background, each with its share of the pixels as the score."""
    total = max(1, sum(each["pixels"] for each in row["classes"] or ()))
    return [
        {"label": each["label"], "label_id": each["label_id"], "score": each["pixels"] / total}
        for each in row["classes"] or ()
        if each["label"] != BACKGROUND
    ]


def _slim_batches(body: bytes, batch_rows: int) -> Iterator[pa.RecordBatch]:
    file = pq.ParquetFile(pa.BufferReader(body))
    paths = [file.schema.column(i).path for i in range(len(file.schema))]
    yield from file.iter_batches(
        batch_size=batch_rows,
        columns=[path for path in paths if ".mask." not in path and path not in WITHOUT_DETAIL],
    )


def read_rows(body: bytes, wanted: set[int]) -> dict[int, dict[str, Any]]:
    """Read whole rows of one part, masks included, by their number in it."""
    found: dict[int, dict[str, Any]] = {}
    start = 0
    for batch in pq.ParquetFile(pa.BufferReader(body)).iter_batches(batch_size=MASK_BATCH_ROWS):
        inside = sorted(row for row in wanted if start <= row < start + batch.num_rows)
        rows = batch.take(pa.array([row - start for row in inside], pa.int64())).to_pylist()
        found.update(zip(inside, rows, strict=True))
        start += batch.num_rows
    return found


def decode_batch(batch: pa.RecordBatch) -> RowBatch:
    """Turn Arrow columns into arrays. Absent columns read as null; values that are not finite as 0."""
    statuses = _strings(batch, "status")
    owner, detections = _detections(batch)
    unnamed = PROPOSAL if kind_of(batch.schema.names) == "proposals" else ""
    labels = pc.fill_null(_field(detections, "label", pa.string()), unnamed).dictionary_encode()
    return RowBatch(
        uris=_strings(batch, "uri"),
        statuses=statuses,
        error_codes=_strings(batch, "error_code"),
        errors=_strings(batch, "error"),
        frames=_integers(batch, "frame_index", null=NO_FRAME),
        ok=np.array([status == "ok" for status in statuses], dtype=np.bool_),
        widths=_integers(batch, "width", null=0),
        heights=_integers(batch, "height", null=0),
        owner=owner,
        labels=labels.dictionary.to_pylist(),
        label_index=labels.indices.to_numpy(zero_copy_only=False).astype(np.int64),
        label_ids=_to_integers(_field(detections, "label_id", pa.int32()), null=0),
        scores=_scores(detections),
        boxes=_boxes(detections),
        kind=kind_of(batch.schema.names),
    )


def _column(batch: pa.RecordBatch, name: str, like: pa.DataType) -> pa.Array:
    if name in batch.schema.names:
        return batch.column(name)
    return pa.nulls(batch.num_rows, like)


def _strings(batch: pa.RecordBatch, name: str) -> list[str]:
    values: list[str] = pc.fill_null(_column(batch, name, pa.string()), "").to_pylist()
    return values


def _integers(batch: pa.RecordBatch, name: str, *, null: int) -> npt.NDArray[np.int64]:
    return _to_integers(_column(batch, name, pa.int32()), null=null)


def _to_integers(array: pa.Array, *, null: int) -> npt.NDArray[np.int64]:
    filled = pc.fill_null(array.cast(pa.int64()), null)
    return np.asarray(filled.to_numpy(zero_copy_only=False), dtype=np.int64)


def _detections(batch: pa.RecordBatch) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """Row of each detection, and the detections as one array of structs."""
    kind = kind_of(batch.schema.names)
    if kind == "classes":
        return _classes(batch)
    if kind == "labels":
        column = pc.list_slice(batch.column("labels"), 0, 1)
    elif kind in batch.schema.names:
        column = batch.column(kind)
    else:
        return np.empty(0, np.int64), pa.array([], pa.struct([]))
    owner = np.asarray(pc.list_parent_indices(column).to_numpy(zero_copy_only=False), dtype=np.int64)
    return owner, pc.list_flatten(column)


def _classes(batch: pa.RecordBatch) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """The same of classes in maps, without the background."""
    column = batch.column("classes")
    owner = np.asarray(pc.list_parent_indices(column).to_numpy(zero_copy_only=False), dtype=np.int64)
    found = pc.list_flatten(column)
    pixels = _field(found, "pixels", pa.int64()).to_numpy(zero_copy_only=False).astype(np.float64)
    totals = np.bincount(owner, weights=pixels, minlength=batch.num_rows)
    shares = pa.array(pixels / np.maximum(totals[owner], 1), pa.float32())
    fields = {"label": _field(found, "label", pa.string()), "label_id": _field(found, "label_id", pa.int32())}
    scored = pa.StructArray.from_arrays([*fields.values(), shares], [*fields, "score"])
    kept = pc.fill_null(pc.not_equal(fields["label"], BACKGROUND), True)
    return owner[kept.to_numpy(zero_copy_only=False)], scored.filter(kept)


def _field(detections: pa.Array, name: str, like: pa.DataType) -> pa.Array:
    if name in [field.name for field in detections.type]:
        return pc.struct_field(detections, name)
    return pa.nulls(len(detections), like)


def _scores(detections: pa.Array) -> npt.NDArray[np.float64]:
    scores = _field(detections, "score", pa.float32()).to_numpy(zero_copy_only=False).astype(np.float64)
    return np.asarray(np.clip(np.nan_to_num(scores, nan=0.0), 0.0, 1.0), dtype=np.float64)


def _boxes(detections: pa.Array) -> npt.NDArray[np.float32]:
    boxes = _field(detections, "box", pa.list_(pa.float32(), 4))
    if boxes.null_count:
        boxes = pc.if_else(boxes.is_valid(), boxes, pa.scalar([0.0] * 4, boxes.type))
    flat = pc.list_flatten(boxes).to_numpy(zero_copy_only=False).astype(np.float32)
    return np.asarray(np.nan_to_num(flat.reshape(-1, 4)), dtype=np.float32)
