"""Drawing what a run found into one of its videos."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cvcore.draw import Picture, draw_scene
from cvcore.errors import ImageError, SpecError
from cvcore.video.decode import open_frames
from cvcore.video.encode import VideoWriter
from jobs.outcome import refuse_without_boxes
from jobs.overlay import Trails, row_boxes
from jobs.report.run import Run, read_decoding, read_run
from jobs.sink import decode_part
from jobs.storage import Access, Store, open_store, resolve_location
from jobs.visible import visible

MAX_NAMED = 10
ROWS_AT_ONCE = 256
DEFAULT_FPS = Fraction(25)
SLOWEST_FPS, FASTEST_FPS = Fraction(1, 1001), Fraction(240)


@dataclass(frozen=True)
class Rendered:
    """What was written."""

    uri: str
    num_frames: int


def render_video(
    run: str,
    *,
    video: str,
    out: str,
    access: Access,
    trail_s: float = 2.0,
    overwrite: bool = False,
) -> Rendered:
    """Write a video of the run's frames with boxes, ids and trails drawn, and failed frames named.

    Frames without a row, of a sampled run, are left out; the others keep their times. A row whose frame
    cannot be decoded is shown in the frame before it (the first, where there is none before), darkened.

    Args:
        video: the location of one of the run's videos, or how it ends.
        out: an `.mp4`, local or `s3://`.

    Raises:
        SpecError: if no video, or more than one, is named so, `out` stands already, or the video cannot be
            decoded.
        StorageError: if the video is not what it was, or the store fails.
    """
    target = resolve_location(out)
    store = open_store(target, access)
    if not target.lower().endswith(".mp4"):
        raise SpecError(f"{out}: name a file that ends with .mp4")
    if not overwrite and store.exists(target):
        raise SpecError(f"{target} stands already: name another file, or add --overwrite")
    run_uri = resolve_location(run)
    run_store = open_store(run_uri, access)
    found = read_run(run_uri, run_store)
    refuse_without_boxes((found.manifest or {}).get("counts") or {}, run_uri)
    uri, parts = find_video(found, run_store, video)
    if target == uri:
        raise SpecError(f"{target} is the video itself: name another file")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "video.mp4"
        try:
            num_frames = _write(path, found, uri, _rows(parts, run_store, uri), access, trail_s=trail_s)
        except ImageError as error:
            raise SpecError(f"{uri} cannot be drawn into: {error}") from error
        if not num_frames:
            raise SpecError(f"no frame of {uri} can be decoded: there is nothing to draw into")
        if overwrite:
            store.put(target, path.read_bytes())
        elif store.create(target, path.read_bytes(), writer="render") == "exists":
            raise SpecError(f"{target} was written by another program meanwhile: add --overwrite")
    return Rendered(target, num_frames)


def find_video(run: Run, store: Store, video: str) -> tuple[str, list[str]]:
    """The location of the run's one video that ends with `video`, and the parts that have its rows.

    Raises:
        SpecError: with candidates, if none does, or more than one and none is `video` itself.
    """
    some: set[str] = set()  # videos of any name, to show when none is found
    found: dict[str, list[str]] = {}
    for part in run.parts:
        names = pq.read_table(pa.BufferReader(store.read(part)), columns=["uri", "frame_index"])
        frames = names.filter(pc.is_valid(names.column("frame_index")))
        for uri in frames.column("uri").unique().to_pylist():
            if uri.endswith(video):
                found.setdefault(uri, []).append(part)
            elif len(some) <= MAX_NAMED:
                some.add(uri)
    if video in found or len(found) == 1:
        uri = video if video in found else next(iter(found))
        return uri, found[uri]
    if not found and not some:
        raise SpecError(f"{run.uri} has no rows of videos")
    named = sorted(visible(uri) for uri in found or some)
    shown = ", ".join(named[:MAX_NAMED]) + (" …" if len(named) > MAX_NAMED else "")
    what = "several videos end" if found else "no video of the run ends"
    raise SpecError(f"{what} with {video!r}: name one of {shown}")


def _rows(parts: list[str], store: Store, uri: str) -> Iterator[dict[str, Any]]:
    """The video's rows in frame order, few at a time."""
    for part in parts:
        rows = decode_part(store.read(part))
        mine = pc.and_(pc.equal(rows.column("uri"), uri), pc.is_valid(rows.column("frame_index")))
        for batch in rows.filter(mine).to_batches(max_chunksize=ROWS_AT_ONCE):
            yield from batch.to_pylist()


def _write(
    path: Path, run: Run, uri: str, rows: Iterator[dict[str, Any]], access: Access, *, trail_s: float
) -> int:
    """Draw each row into its frame; returns how many were written, 0 where no frame can be decoded."""
    first = list(itertools.islice(rows, 2))
    how = read_decoding(run, access)
    with open_store(uri, how.access).open(uri, etag=first[0]["etag"]) as file:
        frames = open_frames(file, stream=how.stream, limits=how.limits, name=uri)
        start = next(frames, None)
        if start is None:
            return 0
        last = start[2]
        height, width = last.shape[:2]
        fps, trails = _fps(first), Trails(trail_s)
        shift = -min(0.0, _second(first[0], fps))  # players begin at 0
        with VideoWriter(path, fps=fps, width=width, height=height) as writer:
            all_frames, all_rows = itertools.chain([start], frames), itertools.chain(first, rows)
            for row, picture in pair_frames(all_rows, all_frames):
                last = last if picture is None else _fitted(picture, writer)
                second = _second(row, fps)
                drawn = _draw(last, row, second, trails, lost=picture is None)
                writer.write(drawn, timestamp_s=second + shift)
        return writer.num_frames


def pair_frames(
    rows: Iterable[dict[str, Any]], frames: Iterator[tuple[int, float, Picture]]
) -> Iterator[tuple[dict[str, Any], Picture | None]]:
    """Each row with its picture, or None where its frame was not decoded. Both are in order of frames."""
    frame = next(frames, None)
    for row in rows:
        while frame is not None and frame[0] < row["frame_index"]:
            frame = next(frames, None)
        yield row, frame[2] if frame is not None and frame[0] == row["frame_index"] else None


def _draw(picture: Picture, row: dict[str, Any], second: float, trails: Trails, *, lost: bool) -> Picture:
    """With `lost`, `picture` is another frame's that stands for it, and is darkened."""
    failed = row["status"] != "ok"
    note = f"{row['frame_index']}  {second:.2f} s"
    if failed:
        note += f"  {row['status']}: {row['error_code']}"
    elif lost:
        note += "  not decoded"
    shown = picture // 3 if lost else picture
    return draw_scene(shown, row_boxes(row), trails.add(row, second), note=note, alarm=failed or lost)


def _second(row: dict[str, Any], fps: Fraction) -> float:
    known = row["timestamp_s"]
    return row["frame_index"] / float(fps) if known is None else float(known)


def _fps(rows: list[dict[str, Any]]) -> Fraction:
    """By the distance of the first two rows; the others keep their own times."""
    times = [row["timestamp_s"] for row in rows]
    if len(times) < 2 or None in times or times[1] <= times[0]:
        return DEFAULT_FPS
    found = Fraction(1 / (times[1] - times[0])).limit_denominator(1001)
    return min(max(found, SLOWEST_FPS), FASTEST_FPS)


def _fitted(picture: Picture, writer: VideoWriter) -> Picture:
    """Cut or padded to the size of the first frame: a stream may change its own."""
    height, width = picture.shape[:2]
    if (height, width) == (writer.height, writer.width):
        return picture
    fitted = np.zeros((writer.height, writer.width, 3), np.uint8)
    rows, columns = min(height, writer.height), min(width, writer.width)
    fitted[:rows, :columns] = picture[:rows, :columns]
    return fitted
