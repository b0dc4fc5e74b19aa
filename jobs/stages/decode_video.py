"""Decoding a segment of a video: the frames that the plan names become canvases, a row for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from typing import Any

import numpy as np

from cvcore.image.limits import DecodeLimits
from cvcore.types import InputSpec
from cvcore.video.decode import VideoFrame, decode_segment
from jobs.stages.guard import Guard
from jobs.storage import StorageError, Store

Canvases = np.ndarray[Any, np.dtype[np.uint8]]


def decode_video_unit(
    item: dict[str, Any], store: Store, spec: InputSpec, limits: DecodeLimits, *, guard: Guard | None
) -> tuple[list[dict[str, Any]], Canvases]:
    """Decode the frames of one segment; each that cannot be decoded costs its own row alone.

    Args:
        item: a row of the plan, with `row` (its number) and `set_aside`.

    Returns:
        A row for each frame in the plan's order, and (N, bytes of a canvas) uint8.

    Raises:
        StorageError: if the store itself fails, so that no input is to blame.
    """
    pinned = {"uri": item["uri"], "etag": item["etag"]}
    if item["error_code"] is not None:
        status = "read" if item["error_code"] in ("missing", "changed") else "decode"
        row = pinned | {"status": status, "error_code": item["error_code"], "error": item["error"]}
        return [row], np.zeros((1, spec.num_bytes), dtype=np.uint8)
    time_base = Fraction(item["time_base"])
    rows = [
        pinned | {"frame_index": index, "timestamp_s": float(pts * time_base)}
        for index, pts in zip(item["frame_indices"], item["pts"], strict=True)
    ]
    canvases = np.zeros((len(rows), spec.num_bytes), dtype=np.uint8)
    if aside := item.get("set_aside"):
        failed = {"status": aside.stage, "error_code": aside.reason, "error": aside.message}
        return [row | failed for row in rows], canvases
    watched = guard.on(item["row"], num_inputs=len(rows)) if guard else nullcontext()
    _fill(rows, canvases, item, store, spec, limits, watched)
    return rows, canvases


def _fill(
    rows: list[dict[str, Any]],
    canvases: Canvases,
    item: dict[str, Any],
    store: Store,
    spec: InputSpec,
    limits: DecodeLimits,
    watched: AbstractContextManager[object],
) -> None:
    done = 0
    try:
        with store.open(item["uri"], etag=item["etag"], size=item["size"]) as file, watched:
            frames: Iterator[VideoFrame] = decode_segment(
                file,
                stream=item["stream"],
                frame_indices=item["frame_indices"],
                pts=item["pts"],
                spec=spec,
                limits=limits,
                name=item["uri"],
            )
            for row, canvas, frame in zip(rows, canvases, frames, strict=True):
                row |= _outcome(frame)
                if frame.canvas is not None:
                    canvas[:] = frame.canvas.reshape(-1)
                done += 1
    except StorageError as error:
        if error.whole_store:
            raise
        for row in rows[done:]:
            row |= {"status": "read", "error_code": error.code, "error": str(error)}


def _outcome(frame: VideoFrame) -> dict[str, Any]:
    if frame.error is not None:
        return {"status": "decode", "error_code": frame.error.code, "error": str(frame.error)}
    assert frame.fit is not None, "a frame without an error has its place on the canvas"
    return {"status": "ok", "width": frame.fit.source_width, "height": frame.fit.source_height}
