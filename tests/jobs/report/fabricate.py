"""Runs made up for the tests of the report: folders as a job writes them, without running one."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from jobs.run_folder import JobRecord, RunFolder
from jobs.schemas import TRACK_SCHEMA, result_schema
from jobs.storage.local import LocalStore
from tests.cvcore.video.clips import HEIGHT, WIDTH, make_clip

LABELS = ["person", "bicycle", "car", "dog", "cat", "zebra"]
REASONS = [("read", "missing"), ("decode", "truncated"), ("decode", "not_an_image"), ("infer", "non_finite")]


def detection(label_id: int, score: float, box: tuple[float, ...], **more: Any) -> dict[str, Any]:
    return {"box": list(box), "label": LABELS[label_id], "label_id": label_id, "score": score, **more}


def ok_row(
    uri: str, detections: list[dict[str, Any]], *, width: int = 64, height: int = 48
) -> dict[str, Any]:
    return _row(uri, status="ok", width=width, height=height, detections=detections)


def failed_row(uri: str, status: str, code: str, error: str) -> dict[str, Any]:
    return _row(uri, status=status, error_code=code, error=error)


def frame_row(
    uri: str, frame: int, second: float | None, detections: list[dict[str, Any]], **size: int
) -> dict[str, Any]:
    """A row of a video's frame; of the size of `save_clip`'s unless `width` and `height` are given."""
    size = {"width": WIDTH, "height": HEIGHT} | size
    return _row(uri, frame_index=frame, timestamp_s=second, status="ok", detections=detections, **size)


def failed_frame(uri: str, frame: int, second: float | None, code: str = "corrupt") -> dict[str, Any]:
    """A row of a frame that could not be decoded."""
    error = f"{uri}, frame {frame}: it cannot be decoded"
    return _row(uri, frame_index=frame, timestamp_s=second, status="decode", error_code=code, error=error)


def tracks_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of `tracks.parquet` that go with these rows."""
    seen: dict[tuple[str, int], list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for row in rows:
        for found in row["detections"] or ():
            if found.get("track_id") is not None:
                seen.setdefault((row["uri"], found["track_id"]), []).append((row, found))
    return [
        {
            "uri": uri,
            "track_id": track_id,
            "label": each[0][1]["label"],
            "label_id": each[0][1]["label_id"],
            "first_frame": each[0][0]["frame_index"],
            "last_frame": each[-1][0]["frame_index"],
            "first_s": each[0][0]["timestamp_s"],
            "last_s": each[-1][0]["timestamp_s"],
            "length": len(each),
            "mean_score": float(np.mean([found["score"] for _, found in each])),
            "path": [],
        }
        for (uri, track_id), each in sorted(seen.items())
    ]


def _row(uri: str, **values: Any) -> dict[str, Any]:
    columns = result_schema(masks=False).names
    return {
        **dict.fromkeys(columns),
        "uri": uri,
        "etag": LocalStore().stat(uri).etag if _is_file(uri) else "e",
    } | values


def _is_file(uri: str) -> bool:
    return Path(uri).is_file()


def random_rows(seed: int, number: int) -> list[dict[str, Any]]:
    """Rows of every kind; locations are unique."""
    random = np.random.default_rng(seed)
    rows = []
    for i in range(number):
        uri = f"/data/{seed}-{i:05d}.jpg"
        if random.random() < 0.15:
            status, code = REASONS[int(random.integers(len(REASONS)))]
            rows.append(failed_row(uri, status, code, f"{code} number {i}"))
            continue
        found = []
        for _ in range(int(random.choice([0, 1, 2, 3, 12, 30]))):
            x, y, w, h = random.uniform(0, 300, 4)
            score = float(np.float32(random.choice([random.random(), 0.5, 0.05, 1.0])))
            found.append(detection(int(random.integers(5)), score, (x, y, x + w, y + h)))
        rows.append(
            ok_row(uri, found, width=int(random.integers(1, 5000)), height=int(random.integers(1, 5000)))
        )
    return rows


def part_bytes(rows: list[dict[str, Any]], *, masks: bool = False, tracks: bool = False) -> bytes:
    buffer = io.BytesIO()
    schema = result_schema(masks=masks, tracks=tracks)
    pq.write_table(pa.Table.from_pylist(rows, schema), buffer, compression="zstd")
    return buffer.getvalue()


def write_run(
    folder: Path,
    rows: list[dict[str, Any]],
    *,
    rows_per_part: int = 16,
    finished: bool = True,
    num_inputs: int | None = None,
    masks: bool = False,
    source: str = "/data",
    model: str = "tiny",
    labels: list[str] | None = None,
    tracked: bool = False,
) -> str:
    """Write a run's folder as a job does; returns its location. With `tracked`, that of a track job."""
    store, run = LocalStore(), RunFolder(str(folder))
    total = len(rows) if num_inputs is None else num_inputs
    job = "track" if tracked else "annotate"
    record = JobRecord(
        job_id="3fa91c" + "0" * 58,
        identity="i" * 64,
        model={"name": model, "sha256": "ab" * 32, "labels": labels or LABELS},
        code_version="0.1.0",
        source=source,
        num_inputs=total,
        num_units=-(-total // rows_per_part),
        images_per_unit=rows_per_part,
        units_per_file=1,
        skipped={},
        spec={"version": 1, "job": job, "source": {"uri": source}, "annotate": {"min_score": 0.25}},
        num_images=sum(row["frame_index"] is None for row in rows),
        num_videos=len({row["uri"] for row in rows if row["frame_index"] is not None}),
        job=job,
    )
    store.put(run.job, json.dumps(asdict(record)).encode())
    for number, start in enumerate(range(0, len(rows), rows_per_part)):
        piece = rows[start : start + rows_per_part]
        store.put(run.file(number), part_bytes(piece, masks=masks, tracks=tracked))
    more: dict[str, int] = {}
    if tracked:
        tracks = pa.Table.from_pylist(tracks_of(rows), TRACK_SCHEMA)
        pq.write_table(tracks, run.tracks, compression="zstd")
        more["tracks"] = tracks.num_rows
    _write_attempts(store, run, len(rows), finished=finished)
    if finished:
        store.put(run.success, json.dumps(_manifest(record, rows, more)).encode())
    return run.uri


def _write_attempts(store: LocalStore, run: RunFolder, done: int, *, finished: bool) -> None:
    shared = {
        "hardware": "8 CPUs, 1 GPU (H200)",
        "actors": 2,
        "batch_size": 32,
        "precision": "bf16",
        "startup_s": 4.2,
    }
    first = {"writer": "w1", "started": "2026-05-04T10:00:00Z", "wall_s": 61.0, "images_per_s": 50.0}
    second = {"writer": "w2", "started": "2026-05-04T10:05:00+00:00", "wall_s": 30.0, "images_per_s": 100.0}
    half = done // 2
    attempts = [
        {**first, **shared, "inputs_done": half, "units_done": 1, "outcome": "interrupted"},
        {**second, **shared, "inputs_done": done - half, "units_done": 2, "outcome": "finished"},
    ]
    for attempt in attempts if finished else attempts[:1]:
        store.put(f"{run.runs}/{attempt['writer']}.json", json.dumps(attempt).encode())


def _manifest(record: JobRecord, rows: list[dict[str, Any]], more: dict[str, int]) -> dict[str, Any]:
    ok = sum(row["status"] == "ok" for row in rows)
    found = sum(len(row["detections"] or ()) for row in rows)
    counts = {"inputs": len(rows), "ok": ok, "failed": len(rows) - ok, "detections": found} | more
    return {"schema_version": 1, "job_id": record.job_id, "job": record.job, "counts": counts, "files": []}


def save_picture(
    path: Path, *, width: int = 64, height: int = 48, color: tuple[int, int, int] = (90, 120, 60)
) -> str:
    """A JPEG of one colour; returns its location."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), color).save(path, "JPEG")
    return str(path)


def save_clip(path: Path, *, num_frames: int = 40, size: tuple[int, int] = (WIDTH, HEIGHT)) -> str:
    """An H.264 clip of a square that moves, 25 frames a second; returns its location."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(make_clip("h264", "mp4", num_frames=num_frames, size=size))
    return str(path)
