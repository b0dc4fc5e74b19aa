"""The Arrow schemas of a run: the plan and the results."""

from __future__ import annotations

import pyarrow as pa

SCHEMA_VERSION = 1

INPUT_FIELDS = (
    pa.field("uri", pa.string(), nullable=False),
    pa.field("etag", pa.string(), nullable=False),
    pa.field("size", pa.int64(), nullable=False),
)
# One row for each image; for videos, behind all images, one for each segment. A video that could not be
# planned has one row, with the reason.
SEGMENT_FIELDS = (
    pa.field("stream", pa.int32()),
    pa.field("time_base", pa.string()),
    pa.field("frame_indices", pa.list_(pa.int32())),
    pa.field("pts", pa.list_(pa.int64())),
    pa.field("error_code", pa.string()),
    pa.field("error", pa.string()),
)
PLAN_SCHEMA = pa.schema((*INPUT_FIELDS, *SEGMENT_FIELDS))

MASK_TYPE = pa.struct([pa.field("size", pa.list_(pa.int32(), 2)), pa.field("counts", pa.string())])


TRACK_SCHEMA = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("track_id", pa.int64(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("label_id", pa.int32()),
        pa.field("first_frame", pa.int32(), nullable=False),
        pa.field("last_frame", pa.int32(), nullable=False),
        pa.field("first_s", pa.float64()),
        pa.field("last_s", pa.float64()),
        pa.field("length", pa.int32(), nullable=False),
        pa.field("mean_score", pa.float32()),
        pa.field(
            "path",
            pa.list_(
                pa.struct(
                    [
                        pa.field("frame_index", pa.int32()),
                        pa.field("x", pa.float32()),
                        pa.field("y", pa.float32()),
                    ]
                )
            ),
        ),
    ]
)


def detection_type(*, masks: bool, tracks: bool = False) -> pa.StructType:
    """One detection: `box` is xyxy in pixels of the source image; `mask` is COCO RLE at its size.

    `track_id` is null for what belongs to no track.
    """
    fields = [
        pa.field("box", pa.list_(pa.float32(), 4)),
        pa.field("label", pa.string()),
        pa.field("label_id", pa.int32()),
        pa.field("score", pa.float32()),
    ]
    if tracks:
        fields.append(pa.field("track_id", pa.int64()))
    return pa.struct([*fields, pa.field("mask", MASK_TYPE)] if masks else fields)


# What decoding already knows of a result row.
ROW_FIELDS = (
    pa.field("uri", pa.string(), nullable=False),
    pa.field("etag", pa.string(), nullable=False),
    pa.field("frame_index", pa.int32()),
    pa.field("timestamp_s", pa.float64()),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("status", pa.string(), nullable=False),
    pa.field("error_code", pa.string()),
    pa.field("error", pa.string()),
)


def result_schema(*, masks: bool, tracks: bool = False) -> pa.Schema:
    """One row for each input, those that failed included."""
    detections = pa.field("detections", pa.list_(detection_type(masks=masks, tracks=tracks)))
    return pa.schema([*ROW_FIELDS, detections])


LABEL_TYPE = pa.struct(
    [pa.field("label", pa.string()), pa.field("label_id", pa.int32()), pa.field("score", pa.float32())]
)


def classify_schema() -> pa.Schema:
    """One row for each input of a classifier, those that failed included.

    `labels` are the likeliest classes, best first; `score` is a probability, 0 to 1.
    """
    return pa.schema([*ROW_FIELDS, pa.field("labels", pa.list_(LABEL_TYPE))])


def score_schema(latent_size: int | None) -> pa.Schema:
    """One row for each input of a scan, those that failed included.

    `anomaly_raw` is the model's score; `anomaly_score` runs from 0 to 1, the share of normal images that
    score lower; `is_anomaly` is the decision at the calibration's threshold. `heatmap` is a 16-bit gray PNG,
    see `cvcore.anomaly.heatmap`. `brightness` and `contrast` are of luma, 0 to 1. `embedding` is the latent
    vector, of models that have one.
    """
    embedding = () if latent_size is None else (_embedding(latent_size),)
    return pa.schema(
        [
            *ROW_FIELDS,
            pa.field("anomaly_score", pa.float32()),
            pa.field("anomaly_raw", pa.float32()),
            pa.field("is_anomaly", pa.bool_()),
            pa.field("heatmap", pa.binary()),
            pa.field("brightness", pa.float32()),
            pa.field("contrast", pa.float32()),
            *embedding,
        ]
    )


def embed_schema(size: int) -> pa.Schema:
    """One row for each input of an embed job, those that failed included."""
    return pa.schema([*ROW_FIELDS, _embedding(size)])


def propose_schema() -> pa.Schema:
    """One row for each input of a propose job, those that failed included.

    `proposals` are best first: `box` is xyxy in pixels of the source image, `score` falls evenly from 1.
    """
    proposal = pa.struct([pa.field("box", pa.list_(pa.float32(), 4)), pa.field("score", pa.float32())])
    return pa.schema([*ROW_FIELDS, pa.field("proposals", pa.list_(proposal))])


def segment_schema() -> pa.Schema:
    """One row for each input of a segmenter, those that failed included.

    `map` is a palette PNG of class ids at the source image's size; `classes` are those that are in it.
    """
    area = pa.struct(
        [
            pa.field("label", pa.string()),
            pa.field("label_id", pa.int32()),
            pa.field("pixels", pa.int64()),
        ]
    )
    return pa.schema([*ROW_FIELDS, pa.field("classes", pa.list_(area)), pa.field("map", pa.binary())])


def restore_schema() -> pa.Schema:
    """One row for each input of a denoise job: `image` is a PNG on the model's canvas.

    `psnr` (decibels) and `ssim` against the input, before and after, are null unless noise was added.
    """
    names = ("psnr_before", "psnr_after", "ssim_before", "ssim_after")
    return pa.schema(
        [*ROW_FIELDS, pa.field("image", pa.binary()), *(pa.field(n, pa.float32()) for n in names)]
    )


def code_schema() -> pa.Schema:
    """One row for each input of a compress job: its code, and the decibels of what that stands for."""
    return pa.schema([*ROW_FIELDS, pa.field("code", pa.binary()), pa.field("psnr", pa.float32())])


def _embedding(size: int) -> pa.Field:
    return pa.field("embedding", pa.list_(pa.float32(), size))


def canvas_schema(canvas_bytes: int) -> pa.Schema:
    """What travels from decoding to inference: `canvas` is (H, W, 3) uint8, null for inputs that failed."""
    return pa.schema(
        [
            pa.field("unit", pa.int32(), nullable=False),
            *ROW_FIELDS,
            pa.field("canvas", pa.binary(canvas_bytes)),
        ]
    )
