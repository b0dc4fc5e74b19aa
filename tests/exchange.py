"""A small run with everything that exchange has to keep apart, written as a job would."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from cvcore.ops.masks import encode_rle
from jobs.run_folder import JobRecord
from jobs.schemas import result_schema
from jobs.sink import encode_part, part_metadata

LABELS = ("car", "traffic light", "dog")
SIZES = ((64, 48), (101, 77), (200, 150))


def job_record(
    folder: Path, *, num_inputs: int, labels: tuple[str, ...] = LABELS, num_videos: int = 0
) -> JobRecord:
    """The record of an annotate job over `<folder>/images`."""
    return JobRecord(
        job_id="1" * 64,
        identity="test",
        model={"name": "toy", "digests": {"weights": "ab" * 32}, "labels": list(labels)},
        code_version="0",
        source=str(folder / "images"),
        num_inputs=num_inputs,
        num_units=1,
        images_per_unit=max(1, num_inputs),
        units_per_file=1,
        skipped={},
        spec={"job": "annotate", "source": {"uri": str(folder / "images")}},
        num_images=0 if num_videos else num_inputs,
        num_videos=num_videos,
    )


def write_run(
    folder: Path,
    rows: list[dict[str, Any]],
    *,
    masks: bool = False,
    tracks: bool = False,
    finished: bool = True,
    num_inputs: int | None = None,
    labels: tuple[str, ...] = LABELS,
    parts: int = 2,
) -> Path:
    """Write `<folder>/run`, its rows in some parts; returns it."""
    run = folder / "run"
    num_videos = len({row["uri"] for row in rows if row.get("frame_index") is not None})
    num = len(rows) if num_inputs is None else num_inputs
    record = job_record(folder, num_inputs=num, labels=labels, num_videos=num_videos)
    (run / "_veedor").mkdir(parents=True)
    (run / "data").mkdir()
    (run / "_veedor" / "job.json").write_text(json.dumps(asdict(record)))
    table = pa.Table.from_pylist(rows, schema=result_schema(masks=masks, tracks=tracks))
    step = -(-len(rows) // parts)
    for part in range(parts):
        body = encode_part(table.slice(part * step, step), part_metadata(record))
        (run / "data" / f"part-{part:05d}.parquet").write_bytes(body)
    if finished:
        (run / "_SUCCESS.json").write_text(json.dumps({"counts": {"inputs": len(rows)}}))
    return run


def make_rows(
    folder: Path,
    *,
    seed: int = 0,
    num: int = 7,
    masks: bool = False,
    write_images: bool = False,
    folders: tuple[str, str] = ("a", "b"),
) -> list[dict[str, Any]]:
    """Rows of `num` images of which one holds nothing (the second) and one failed (the third)."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for number in range(num):
        width, height = SIZES[number % len(SIZES)]
        name = folder / "images" / folders[number % 2] / f"img {number:03d}.jpg"
        if write_images:
            name.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (width, height), (number, 90, 30)).save(name)
        row: dict[str, Any] = {
            "uri": str(name),
            "etag": "e",
            "width": width,
            "height": height,
            "status": "ok",
        }
        found = [] if number == 1 else [_detection(rng, width, height, masks) for _ in range(3)]
        row["detections"] = sorted(found, key=lambda each: -each["score"])
        if number == 2:
            row |= {"status": "decode", "error_code": "truncated", "error": "it ends early"}
            row |= {"detections": None, "width": None, "height": None}
        rows.append(row)
    return rows


def video_rows(folder: Path, *, num_frames: int = 12, seed: int = 0) -> list[dict[str, Any]]:
    """Frames of one video: track 1 throughout, track 2 with a gap, one detection without a track."""
    rng = np.random.default_rng(seed)
    rows = []
    for frame in range(num_frames):
        shown = [1, *([2] if frame not in (4, 5, 9) else []), *([None] if frame == 6 else [])]
        found = [_detection(rng, 320, 240, False) | {"track_id": track} for track in shown]
        for each in found:
            each["label_id"] = (each["track_id"] or 1) - 1
            each["label"] = LABELS[each["label_id"]]
        rows.append(
            {
                "uri": str(folder / "images" / "line 3.mp4"),
                "etag": "e",
                "frame_index": frame,
                "timestamp_s": frame / 10,
                "width": 320,
                "height": 240,
                "status": "ok",
                "detections": found,
            }
        )
    return rows


def _detection(rng: np.random.Generator, width: int, height: int, masks: bool) -> dict[str, Any]:
    label_id = int(rng.integers(len(LABELS)))
    corners = np.sort(rng.uniform(0, 1, (2, 2)), axis=0) * [width * 0.7, height * 0.7]
    corners[1] += [width * 0.2, height * 0.2]
    found: dict[str, Any] = {
        "box": corners.astype(np.float32).reshape(-1).tolist(),
        "label": LABELS[label_id],
        "label_id": label_id,
        "score": float(np.float32(rng.uniform(0.05, 1))),
    }
    if masks:
        mask = np.zeros((1, height, width), bool)
        (x0, y0), (x1, y1) = corners.astype(int)
        mask[0, y0 : y1 + 1, x0 : x1 + 1] = rng.random((y1 + 1 - y0, x1 + 1 - x0)) < 0.7
        mask[0, (y0 + y1) // 2, (x0 + x1) // 2] = True
        found["mask"] = encode_rle(mask)[0]
    return found
