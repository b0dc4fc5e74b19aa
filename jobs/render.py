"""Drawing what a run found into one of its videos."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

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
    """Draw each of the video's rows into its frame; one whose frame cannot be had, into the one before."""
    pieces = next(pieces for found, pieces in run_videos(run, access) if found == uri)
    rows = _rows(pieces)
    first = list(itertools.islice(rows, 2))
    waiting = deque(first)
    film = _Film(path, fps=_fps(first), trails=Trails(trail_s))
    with film, open_store(uri, access).open(uri, etag=first[0]["etag"]) as file:
        for index, second, picture in open_frames(file, stream=stream, name=uri):
            while waiting and waiting[0]["frame_index"] < index:
                film.draw(waiting.popleft())
                waiting.extend(itertools.islice(rows, 1))
            if not waiting:
                break
            if waiting[0]["frame_index"] == index:
                film.draw(waiting.popleft(), picture, second)
                waiting.extend(itertools.islice(rows, 1))
        for row in itertools.chain(waiting, rows):
            film.draw(row)
    return film.num_frames


class _Film:
    """The video that is written; it takes its size from the first frame."""

    def __init__(self, path: Path, *, fps: Fraction, trails: Trails) -> None:
        self._path = path
        self._fps = fps
        self._trails = trails
        self._open = contextlib.ExitStack()
        self._writer: VideoWriter | None = None
        self._picture: Picture | None = None
        self._second = -1.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    @property
    def num_frames(self) -> int:
        return 0 if self._writer is None else self._writer.num_frames

    def draw(self, row: dict[str, Any], picture: Picture | None = None, second: float | None = None) -> None:
        """Draw a row into its frame, or into the one before; before the first frame there is none."""
        if picture is not None:
            if self._writer is None:
                height, width = picture.shape[:2]
                writer = VideoWriter(self._path, fps=self._fps, width=width, height=height)
                self._writer = self._open.enter_context(writer)
            self._picture = _fitted(picture, self._writer)
        if self._writer is None or self._picture is None:
            return
        at = row["timestamp_s"] if row["timestamp_s"] is not None else second
        self._second = float(at) if at is not None else self._second + float(1 / self._fps)
        note = f"{row['frame_index']}  {self._second:.2f} s"
        if row["status"] != "ok":
            note += f"  {row['status']}: {row['error_code']}"
        trails = self._trails.add(row, self._second)
        drawn = draw_scene(self._picture, row_boxes(row), trails, note=note)
        self._writer.write(drawn, timestamp_s=self._second)


def _rows(pieces: Iterator[pa.Table]) -> Iterator[dict[str, Any]]:
    for piece in pieces:
        yield from piece.to_pylist()


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
