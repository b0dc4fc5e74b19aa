"""The page's section on videos: a filmstrip, the tracks' times, and counts over time, for each of a few."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from cvcore.draw import DrawnBox, Trail, draw_scene, track_color
from cvcore.errors import VeedorError
from jobs.overlay import Trails, row_boxes
from jobs.report import text
from jobs.report.cards import display_name
from jobs.report.frames import FramePictures
from jobs.report.pictures import data_uri, encode_jpeg
from jobs.report.run import Run
from jobs.run_folder import RunFolder
from jobs.sequences import rows_by_video
from jobs.storage import Store
from jobs.visible import visible

MAX_VIDEOS = 8
STRIP_FRAMES = 8
MAX_TRACKS = 60
MAX_POINTS = 200
MAX_LABELS = 5
STRIP_SIDE_PX = 320
STRIP_BYTES = 24_000
TRAIL_S = 2.0


@dataclass(frozen=True, slots=True)
class StripFrame:
    """One picture of the filmstrip; `picture` is a data URI, or empty with the reason in `missing`."""

    caption: str
    picture: str
    missing: str = ""


@dataclass(frozen=True, slots=True)
class TrackBar:
    """A track's time: `start` and `width` are shares of the video's, 0 to 1."""

    name: str
    title: str
    color: str
    start: float
    width: float


@dataclass(frozen=True, slots=True)
class CountLine:
    """Detections of one label over time: `points` as SVG has them, in a box of 1000 by 100."""

    label: str
    color: str
    points: str


@dataclass(frozen=True, slots=True)
class FailedMark:
    """Frames that failed: where, 0 to 1, and why."""

    at: float
    title: str


@dataclass(frozen=True, slots=True)
class VideoView:
    """What is shown of one video."""

    name: str
    uri: str
    facts: str
    strip: tuple[StripFrame, ...]
    tracks: tuple[TrackBar, ...]
    num_more_tracks: int
    lines: tuple[CountLine, ...]
    most: str
    failed: tuple[FailedMark, ...]
    first: str
    last: str


@dataclass
class _Extent:
    """A video's rows: how many, how many failed, and from when to when."""

    rows: int = 0
    failed: int = 0
    first: float = 0.0
    last: float = 0.0

    def add(self, row: dict[str, Any]) -> None:
        at = _time(row)
        self.first = min(self.first, at) if self.rows else at
        self.last = max(self.last, at)
        self.rows += 1
        self.failed += row["status"] != "ok"

    def share(self, at: float) -> float:
        """Where a time lies between the first and the last, 0 to 1."""
        return (at - self.first) / (self.last - self.first) if self.last > self.first else 0.0


@dataclass
class _Counts:
    """Detections of each label in each of `MAX_POINTS` spans of time."""

    frames: list[int] = field(default_factory=lambda: [0] * MAX_POINTS)
    by_label: dict[tuple[str, int], list[int]] = field(default_factory=dict)

    def add(self, row: dict[str, Any], share: float) -> None:
        place = min(MAX_POINTS - 1, int(share * MAX_POINTS))
        self.frames[place] += 1
        found = Counter((visible(str(d["label"])), int(d["label_id"] or 0)) for d in _shown(row))
        for label, count in found.items():
            self.by_label.setdefault(label, [0] * MAX_POINTS)[place] += count


def video_views(run: Run, store: Store, pictures: FramePictures | None) -> tuple[list[VideoView], int]:
    """The run's first videos, and how many more it has. Reads the rows twice, a few at a time."""
    if not run.record.num_videos:
        return [], 0
    extents: dict[str, _Extent] = {}
    for uri, rows in rows_by_video(run.parts, store):
        extent = extents.setdefault(uri, _Extent())
        for row in rows:
            extent.add(row)
    chosen = set(list(extents)[:MAX_VIDEOS])
    tracks = _read_tracks(run, store, chosen)
    views = [
        _view(uri, rows, extents[uri], tracks.get(uri), pictures)
        for uri, rows in rows_by_video(run.parts, store)
        if uri in chosen
    ]
    return views, len(extents) - len(views)


def _view(
    uri: str,
    rows: Iterator[dict[str, Any]],
    extent: _Extent,
    tracks: _Tracks | None,
    pictures: FramePictures | None,
) -> VideoView:
    counts, trails = _Counts(), Trails(TRAIL_S)
    wanted = {round(k * (extent.rows - 1) / max(1, STRIP_FRAMES - 1)) for k in range(STRIP_FRAMES)}
    strip: list[StripFrame] = []
    failed: list[FailedMark] = []
    for number, row in enumerate(rows):
        share = extent.share(_time(row))
        counts.add(row, share)
        ways = trails.add(row, _time(row))
        if row["status"] != "ok" and len(failed) < MAX_POINTS:
            why = f"frame {row['frame_index']}: {row['status']}, {row['error_code']}"
            failed.append(FailedMark(share, visible(why)))
        if number in wanted:
            strip.append(_strip_frame(row, ways, pictures))
    lines, most = _lines(counts)
    facts = f"{text.integer(extent.rows)} frames"
    if tracks is not None:
        facts += f" · {text.integer(tracks.total)} track{'s' * (tracks.total != 1)}"
    if extent.failed:
        facts += f" · {text.integer(extent.failed)} failed"
    return VideoView(
        name=display_name(uri),
        uri=visible(uri),
        facts=facts,
        strip=tuple(strip),
        tracks=tuple(_bars(tracks, extent)) if tracks else (),
        num_more_tracks=max(0, tracks.total - MAX_TRACKS) if tracks else 0,
        lines=lines,
        most=text.decimal(most),
        failed=tuple(failed),
        first=f"{extent.first:.1f} s",
        last=f"{extent.last:.1f} s",
    )


def _strip_frame(row: dict[str, Any], ways: list[Trail], pictures: FramePictures | None) -> StripFrame:
    caption = f"{_time(row):.1f} s"
    if row["status"] in ("read", "decode"):
        return StripFrame(caption, "", visible(f"{row['status']}: {row['error_code']}"))
    if pictures is None or not row["width"]:
        return StripFrame(caption, "", "no picture")
    try:
        picture = pictures.small(row, STRIP_SIDE_PX)
    except (VeedorError, OSError) as error:
        return StripFrame(caption, "", visible(str(error)))
    scale = picture.shape[1] / row["width"]
    drawn = draw_scene(
        picture,
        [_scaled(each, scale) for each in row_boxes(row)],
        [_scaled_trail(way, scale) for way in ways],
    )
    return StripFrame(caption, data_uri(encode_jpeg(Image.fromarray(drawn), max_bytes=STRIP_BYTES), "jpeg"))


def _scaled(each: DrawnBox, scale: float) -> DrawnBox:
    x0, y0, x1, y1 = (scale * value for value in each.box)
    return replace(each, box=(x0, y0, x1, y1), text=each.text.split(" ")[0])


def _scaled_trail(way: Trail, scale: float) -> Trail:
    return replace(way, points=[(scale * x, scale * y, strength) for x, y, strength in way.points])


@dataclass
class _Tracks:
    """A video's longest tracks, and how many it has."""

    total: int = 0
    longest: list[tuple[int, int, dict[str, Any]]] = field(default_factory=list)

    def add(self, row: dict[str, Any]) -> None:
        self.total += 1
        item = (int(row["length"]), -int(row["track_id"]), row)
        if len(self.longest) < MAX_TRACKS:
            heapq.heappush(self.longest, item)
        else:
            heapq.heappushpop(self.longest, item)


def _read_tracks(run: Run, store: Store, chosen: set[str]) -> dict[str, _Tracks]:
    folder = RunFolder(run.uri)
    if run.record.job != "track" or not store.exists(folder.tracks):
        return {}
    found: dict[str, _Tracks] = {uri: _Tracks() for uri in chosen}
    columns = [
        "uri",
        "track_id",
        "label",
        "first_frame",
        "last_frame",
        "first_s",
        "last_s",
        "length",
        "mean_score",
    ]
    for batch in pq.ParquetFile(pa.BufferReader(store.read(folder.tracks))).iter_batches(columns=columns):
        for row in batch.to_pylist():
            if row["uri"] in chosen:
                found[row["uri"]].add(row)
    return found


def _bars(tracks: _Tracks, extent: _Extent) -> Iterator[TrackBar]:
    rows = [row for _, _, row in tracks.longest]
    for row in sorted(rows, key=lambda row: (row["first_frame"], row["track_id"])):
        first = row["first_frame"] if row["first_s"] is None else row["first_s"]
        last = row["last_frame"] if row["last_s"] is None else row["last_s"]
        start = extent.share(first)
        name = f"#{row['track_id']} {visible(str(row['label']))}"
        title = f"{name}: {first:.1f} to {last:.1f} s, {row['length']} detections"
        title += f", mean score {row['mean_score']:.2f}"
        yield TrackBar(
            name, title, _css(track_color(row["track_id"])), start, max(0.004, extent.share(last) - start)
        )


def _lines(counts: _Counts) -> tuple[tuple[CountLine, ...], float]:
    """Mean detections a frame of the commonest labels, scaled to the largest."""
    common = sorted(counts.by_label.items(), key=lambda item: (-sum(item[1]), item[0]))[:MAX_LABELS]
    means = [
        (label, label_id, [n / f if f else None for n, f in zip(values, counts.frames, strict=True)])
        for (label, label_id), values in common
    ]
    most = max((value for _, _, values in means for value in values if value is not None), default=0.0)
    lines = []
    for label, label_id, values in means:
        points = [
            f"{1000 * (i + 0.5) / MAX_POINTS:.0f},{100 - 96 * value / (most or 1):.1f}"
            for i, value in enumerate(values)
            if value is not None
        ]
        lines.append(CountLine(label, _css(track_color(label_id)), " ".join(points)))
    return tuple(lines), most


def _shown(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Detections that count: of a track run, those that belong to a track."""
    return [d for d in row["detections"] or () if d.get("track_id", 0) is not None]


def _time(row: dict[str, Any]) -> float:
    return float(row["frame_index"] if row["timestamp_s"] is None else row["timestamp_s"])


def _css(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
