"""From detections to result rows, column by column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch

from cvcore.ops.masks import encode_rle
from cvcore.types import Detections
from jobs.schemas import detection_type, result_schema


@dataclass(frozen=True, slots=True)
class Failure:
    """Why inference gave one image no result, and in which stage: what is read by tiles is decoded there."""

    code: str
    message: str
    stage: Literal["decode", "infer"] = "infer"


NON_FINITE = Failure("non_finite", "the model's outputs for this image are NaN or infinite")


def result_table(
    batch: pa.Table, found: Mapping[int, Detections | Failure], *, labels: tuple[str, ...], masks: bool
) -> pa.Table:
    """Rows of `jobs.schemas.result_schema`, after a `unit` column.

    Args:
        batch: what decoding made; rows that failed there keep their reason.
        found: by row, for the rows that were inferred.
        labels: names that label ids index.
    """
    schema = result_schema(masks=masks)
    columns = carried_columns(batch, found, schema)
    per_row = [d if isinstance(d := found.get(row), Detections) else None for row in range(batch.num_rows)]
    columns["detections"] = detections_column(per_row, labels=labels, masks=masks)
    return table_of(batch, columns, schema)


def carried_columns(batch: pa.Table, found: Mapping[int, Any], schema: pa.Schema) -> dict[str, Any]:
    """Columns of `schema` that decoding made, with what inference could not do noted in them."""
    columns = {
        name: batch.column(name).combine_chunks() for name in schema.names if name in batch.column_names
    }
    for row, failure in found.items():
        if isinstance(failure, Failure):
            columns = _with_failure(columns, row, failure)
    return columns


def table_of(batch: pa.Table, columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """Columns in the order of `schema`, after the batch's `unit`."""
    unit = batch.column("unit").combine_chunks()
    arrays = [unit, *(columns[name] for name in schema.names)]
    return pa.Table.from_arrays(arrays, schema=schema.insert(0, pa.field("unit", pa.int32())))


def _with_failure(columns: dict[str, Any], row: int, failure: Failure) -> dict[str, Any]:
    changed = {"status": failure.stage, "error_code": failure.code, "error": failure.message}
    for name, value in changed.items():
        values = columns[name].to_pylist()
        values[row] = value
        columns[name] = pa.array(values, columns[name].type)
    return columns


def detections_column(
    per_row: list[Detections | None], *, labels: tuple[str, ...], masks: bool
) -> pa.ListArray:
    """A list of detections a row; null where nothing was looked at, empty where nothing was found."""
    present = [d for d in per_row if d is not None and len(d)]
    boxes = _stack([d.boxes for d in present], (0, 4), np.float32)
    ids = _stack([d.label_ids for d in present], (0,), np.int32)
    scores = _stack([d.scores for d in present], (0,), np.float32)
    names = pa.DictionaryArray.from_arrays(pa.array(ids), pa.array(labels, pa.string())).cast(pa.string())
    children: list[pa.Array] = [
        pa.FixedSizeListArray.from_arrays(pa.array(boxes.reshape(-1)), 4),
        names,
        pa.array(ids),
        pa.array(scores),
    ]
    kind = detection_type(masks=masks)
    if masks:
        children.append(pa.array([rle for d in present for rle in _rles(d)], kind.field("mask").type))
    values = pa.StructArray.from_arrays(children, fields=[kind.field(i) for i in range(kind.num_fields)])
    counts = [0 if d is None else len(d) for d in per_row]
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
    absent = pa.array([d is None for d in per_row], pa.bool_())
    return pa.ListArray.from_arrays(offsets, values, type=pa.list_(kind), mask=absent)


def _stack(parts: list[torch.Tensor], shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    if not parts:
        return np.zeros(shape, dtype)
    return torch.cat(parts).cpu().numpy().astype(dtype, copy=False)


def _rles(detections: Detections) -> list[dict[str, Any]]:
    assert detections.masks is not None, "a model that says it makes masks makes them"
    return encode_rle(detections.masks.cpu().numpy())


def canvas_array(column: pa.ChunkedArray, height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(N, H, W, 3) uint8 over the column's own memory, where it is one chunk (as one block is)."""
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    pixels = np.frombuffer(array.buffers()[1], dtype=np.uint8)
    size = height * width * 3
    return pixels[array.offset * size : (array.offset + len(array)) * size].reshape(-1, height, width, 3)
