"""The Arrow schemas of a run: the plan and the results."""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 1

INPUT_FIELDS = (
    pa.field("uri", pa.string(), nullable=False),
    pa.field("etag", pa.string(), nullable=False),
    pa.field("size", pa.int64(), nullable=False),
)
PLAN_SCHEMA = pa.schema(INPUT_FIELDS)

MASK_TYPE = pa.struct([pa.field("size", pa.list_(pa.int32(), 2)), pa.field("counts", pa.string())])


def detection_type(*, masks: bool) -> pa.StructType:
    """One detection: `box` is xyxy in pixels of the source image; `mask` is COCO RLE at its size."""
    fields = [
        pa.field("box", pa.list_(pa.float32(), 4)),
        pa.field("label", pa.string()),
        pa.field("label_id", pa.int32()),
        pa.field("score", pa.float32()),
    ]
    return pa.struct([*fields, pa.field("mask", MASK_TYPE)] if masks else fields)


def result_schema(*, masks: bool) -> pa.Schema:
    """One row for each input, those that failed included."""
    return pa.schema(
        [
            pa.field("uri", pa.string(), nullable=False),
            pa.field("etag", pa.string(), nullable=False),
            pa.field("frame_index", pa.int32()),
            pa.field("timestamp_s", pa.float64()),
            pa.field("width", pa.int32()),
            pa.field("height", pa.int32()),
            pa.field("status", pa.string(), nullable=False),
            pa.field("error_code", pa.string()),
            pa.field("error", pa.string()),
            pa.field("detections", pa.list_(detection_type(masks=masks))),
        ]
    )


def canvas_schema(canvas_bytes: int) -> pa.Schema:
    """What travels from decoding to inference: `canvas` is (H, W, 3) uint8, null for inputs that failed."""
    return pa.schema(
        [
            pa.field("unit", pa.int32(), nullable=False),
            *(result_schema(masks=False).field(name) for name in ("uri", "etag", "width", "height")),
            *(result_schema(masks=False).field(name) for name in ("status", "error_code", "error")),
            pa.field("canvas", pa.binary(canvas_bytes)),
        ]
    )
