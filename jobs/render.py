"""Drawing what a run found into one of its videos."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cvcore.draw import Picture, draw_scene
from cvcore.errors import ImageError, SpecError
from cvcore.video.decode import open_frames
from cvcore.video.encode import VideoWriter
from jobs.overlay import Trails, row_boxes
from jobs.report.run import read_run
from jobs.sequences import run_videos
from jobs.storage import Access, open_store, resolve_location
from jobs.visible import visible

MAX_NAMED = 10
DEFAULT_FPS = 25.0


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

    Frames without a row, of a sampled run, are left out; the others keep their times.

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
    uri = find_video(run, video, access)
    run_uri = resolve_location(run)
    record = read_run(run_uri, open_store(run_uri, access)).record
    stream = record.spec.get("video", {}).get("stream")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "video.mp4"
        try:
            num_frames = _write(path, run, uri, access, stream=stream, trail_s=trail_s)
        except ImageError as error:
            raise SpecError(f"{uri} cannot be drawn into: {error}") from error
        if not num_frames:
            raise SpecError(f"no frame of {uri} can be decoded: there is nothing to draw into")
        if overwrite:
            store.put(target, path.read_bytes())
        elif store.create(target, path.read_bytes(), writer="render") == "exists":
            raise SpecError(f"{target} was written by another program meanwhile: add --overwrite")
    return Rendered(target, num_frames)


def find_video(run: str, video: str, access: Access) -> str:
    """The location of the run's one video that ends with `video`; `SpecError` with the candidates else."""
    uris = [uri for uri, _ in run_videos(run, access)]
    found = [uri for uri in uris if uri == video] or [uri for uri in uris if uri.endswith(video)]
    if len(found) == 1:
        return found[0]
    named = found or uris
    shown = ", ".join(visible(uri) for uri in named[:MAX_NAMED]) + (" …" if len(named) > MAX_NAMED else "")
    if not uris:
        raise SpecError(f"{run} has no rows of videos")
    what = "several videos end" if found else "no video of the run ends"
    raise SpecError(f"{what} with {video!r}: name one of {shown}")


def _write(path: Path, run: str, uri: str, access: Access, *, stream: int | None, trail_s: float) -> int:
    pieces = next(pieces for found, pieces in run_videos(run, access) if found == uri)
    rows = _rows(pieces)
    first = list(itertools.islice(rows, 2))
    if not first:
        return 0
    rows = itertools.chain(first, rows)
    trails = Trails(trail_s)
    writer: VideoWriter | None = None
    store = open_store(uri, access)
    row = next(rows, None)
    last: Picture | None = None
    with store.open(uri, etag=first[0]["etag"]) as file:
        try:
            for index, second, picture in open_frames(file, stream=stream, name=uri):
                while row is not None and row["frame_index"] < index:
                    # Not decoded here either: the frame before stands for it, and says so.
                    if writer is not None and last is not None:
                        _draw(writer, last, row, _second(row, second), trails)
                    row = next(rows, None)
                if row is None:
                    break
                if row["frame_index"] == index:
                    if writer is None:
                        height, width = picture.shape[:2]
                        writer = VideoWriter(path, fps=_fps(first), width=width, height=height)
                    last = _fitted(picture, writer)
                    _draw(writer, last, row, second, trails)
                    row = next(rows, None)
        except BaseException as error:
            if writer is not None:
                writer.__exit__(type(error), error, error.__traceback__)
            raise
    if writer is None:
        return 0
    writer.close()
    return writer.num_frames


def _rows(pieces: Iterator[pa.Table]) -> Iterator[dict[str, Any]]:
    for piece in pieces:
        yield from piece.to_pylist()


def _second(row: dict[str, Any], otherwise: float) -> float:
    return otherwise if row["timestamp_s"] is None else float(row["timestamp_s"])


def _fps(rows: list[dict[str, Any]]) -> Fraction:
    """By the distance of the first two rows; the others keep their own times."""
    times = [row["timestamp_s"] for row in rows]
    if len(times) < 2 or None in times or times[1] <= times[0]:
        return Fraction(DEFAULT_FPS)
    return Fraction(1 / (times[1] - times[0])).limit_denominator(1001)


def _fitted(picture: Picture, writer: VideoWriter) -> Picture:
    """Cut or padded to the size of the first frame: a stream may change its own."""
    height, width = picture.shape[:2]
    if (height, width) == (writer.height, writer.width):
        return picture
    fitted = np.zeros((writer.height, writer.width, 3), np.uint8)
    rows, columns = min(height, writer.height), min(width, writer.width)
    fitted[:rows, :columns] = picture[:rows, :columns]
    return fitted


def _draw(writer: VideoWriter, picture: Picture, row: dict[str, Any], second: float, trails: Trails) -> None:
    note = f"{row['frame_index']}  {second:.2f} s"
    if row["status"] != "ok":
        note += f"  {row['status']}: {row['error_code']}"
    drawn = draw_scene(picture, row_boxes(row), trails.add(row, second), note=note)
    writer.write(drawn, timestamp_s=second)
