"""The page's section on videos: a filmstrip, counts over time and the tracks' times, for each of a few."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.overlay import Trails
from jobs.report import text
from jobs.report.cards import display_name, drawable
from jobs.report.filmstrip import StripFrame, strip_frame, strip_places
from jobs.report.frames import FramePictures
from jobs.report.rows import iter_video_rows
from jobs.report.run import Run
from jobs.report.timeline import (
    CountLine,
    FailedMark,
    FrameCounts,
    TimeAxis,
    TrackBar,
    TracksOfRows,
    spans_of_table,
    track_bars,
)
from jobs.run_folder import RunFolder
from jobs.storage import Store
from jobs.visible import visible

MAX_VIDEOS = 12
TRAIL_S = 2.0
TRAIL_FRAMES = 50.0
ROW_COLUMNS = ["uri", "frame_index", "timestamp_s", "status"]


@dataclass(frozen=True, slots=True)
class VideoView:
    """What is shown of one video.

    Attributes:
        facts: how many frames, tracks and failures.
        strip: its frames, empty where no picture of it can be had; then `no_strip` says why, if there is
            anything to say.
        ticks: of the time axis, and where, 0 to 1.
        counted: what `lines` count; `most` is the largest mean, as text.
    """

    name: str
    uri: str
    facts: str
    strip: tuple[StripFrame, ...]
    no_strip: str
    ticks: tuple[tuple[str, float], ...]
    counted: str
    lines: tuple[CountLine, ...]
    num_more_labels: int
    most: str
    failed: tuple[FailedMark, ...]
    tracks: tuple[TrackBar, ...]
    num_more_tracks: int


@dataclass
class VideoExtent:
    """A video's rows, without what was found: how many, of what time, and which parts hold them."""

    rows: int = 0
    failed: int = 0
    frames: tuple[int, int] = (0, 0)
    seconds: tuple[float, float] = (math.inf, -math.inf)
    timed: bool = True
    parts: list[str] = field(default_factory=list)

    def add(self, part: str, rows: pa.Table) -> None:
        """Take rows of one part."""
        frames = pc.min_max(rows.column("frame_index"))
        low, high = frames["min"].as_py(), frames["max"].as_py()
        self.frames = (min(low, self.frames[0]), max(high, self.frames[1])) if self.rows else (low, high)
        times = rows.column("timestamp_s")
        known = times.filter(pc.fill_null(pc.is_finite(times), False))
        self.timed = self.timed and len(known) == len(times)
        if len(known):
            ends = pc.min_max(known)
            self.seconds = (
                min(self.seconds[0], ends["min"].as_py()),
                max(self.seconds[1], ends["max"].as_py()),
            )
        self.rows += rows.num_rows
        self.failed += rows.num_rows - (pc.sum(pc.equal(rows.column("status"), "ok")).as_py() or 0)
        self.parts.append(part)

    def axis(self) -> TimeAxis:
        """In seconds if every row has a time."""
        first, last = self.seconds if self.timed else self.frames
        return TimeAxis(first, last, "s" if self.timed else "frame")


def video_views(run: Run, store: Store, pictures: FramePictures | None) -> tuple[list[VideoView], int]:
    """The videos with the most tracks and failed frames, and how many more the run has.

    A first pass looks at places and times of rows, of all videos; a second at the chosen ones, a video and a
    few rows at a time. Memory grows with the number of videos, not with their frames.

    Args:
        pictures: makes the filmstrips; None leaves them out.
    """
    if not run.record.num_videos:
        return [], 0
    extents = _survey(run, store)
    table = _track_table(run, store)
    counts = _count_tracks(table) if table is not None else Counter()
    chosen = sorted(extents, key=lambda uri: (-counts[uri] - extents[uri].failed, uri))[:MAX_VIDEOS]
    tracks = _tracks_of(table, set(chosen)) if table is not None else None
    views = [
        _view(uri, extents[uri], store, pictures, None if tracks is None else tracks[uri]) for uri in chosen
    ]
    return views, len(extents) - len(views)


def _survey(run: Run, store: Store) -> dict[str, VideoExtent]:
    extents: dict[str, VideoExtent] = {}
    for part in run.parts:
        rows = pq.read_table(pa.BufferReader(store.read(part)), columns=ROW_COLUMNS)
        rows = rows.filter(pc.is_valid(rows.column("frame_index")))
        for uri in rows.column("uri").unique().to_pylist():
            extents.setdefault(uri, VideoExtent()).add(part, rows.filter(pc.equal(rows.column("uri"), uri)))
    return extents


def _view(
    uri: str,
    extent: VideoExtent,
    store: Store,
    pictures: FramePictures | None,
    table: list[dict[str, Any]] | None,
) -> VideoView:
    axis, counts, from_rows = extent.axis(), FrameCounts(extent.rows), TracksOfRows()
    trail = TRAIL_S if axis.unit == "s" else TRAIL_FRAMES
    trails = Trails(trail)
    wanted = strip_places(extent.rows) if pictures else frozenset()
    # Trails need the rows shortly before a picture; twice as many as there are on average, as times may vary.
    reach = 2 * math.ceil(trail * extent.rows / max(axis.last - axis.first, trail))
    strip: list[StripFrame] = []
    tracked = classified = False
    for number, row in enumerate(_rows(uri, extent, store)):
        at = axis.place(row["frame_index"], row["timestamp_s"])
        counts.add(row, axis.share(at))
        if table is None:
            from_rows.add(row, at)
        classified = classified or "labels" in row
        tracked = tracked or any("track_id" in found for found in row["detections"] or ())
        if not any(number <= place <= number + reach for place in wanted):
            continue
        ways = trails.add({**row, "detections": [d for d in row["detections"] or () if drawable(d)]}, at)
        if pictures and number in wanted:
            strip.append(strip_frame(row, axis.text(at), ways, pictures))
    bars, num_tracks = track_bars(from_rows.spans() if table is None else spans_of_table(table, axis), axis)
    lines, most = counts.lines()
    no_strip = "" if any(frame.picture for frame in strip) else next((f.missing for f in strip), "")
    return VideoView(
        name=display_name(uri),
        uri=visible(uri),
        facts=_facts(extent, num_tracks, tracked=tracked),
        strip=() if no_strip else tuple(strip),
        no_strip=no_strip,
        ticks=axis.ticks(),
        counted=_counted(tracked=tracked, classified=classified),
        lines=lines,
        num_more_labels=counts.num_more_labels,
        most=text.decimal(most),
        failed=counts.failed(),
        tracks=tuple(bars),
        num_more_tracks=num_tracks - len(bars),
    )


def _rows(uri: str, extent: VideoExtent, store: Store) -> Iterator[dict[str, Any]]:
    for part in extent.parts:
        yield from iter_video_rows(store.read(part), uri)


def _counted(*, tracked: bool, classified: bool) -> str:
    if classified:
        return "Share of frames by their likeliest label"
    return "Tracked detections a frame" if tracked else "Detections a frame"


def _facts(extent: VideoExtent, num_tracks: int, *, tracked: bool) -> str:
    facts = [text.plural(extent.rows, "frame")]
    if tracked or num_tracks:
        facts.append(text.plural(num_tracks, "track"))
    if extent.failed:
        facts.append(f"{text.integer(extent.failed)} failed")
    return " · ".join(facts)


def _track_table(run: Run, store: Store) -> bytes | None:
    """The run's table of tracks; it is there once a track job is done."""
    location = RunFolder(run.uri).tracks
    return store.read(location) if run.record.job == "track" and store.exists(location) else None


def _count_tracks(table: bytes) -> Counter[str]:
    found: Counter[str] = Counter()
    for batch in pq.ParquetFile(pa.BufferReader(table)).iter_batches(columns=["uri"]):
        for pair in pc.value_counts(batch.column("uri")).to_pylist():
            found[pair["values"]] += pair["counts"]
    return found


def _tracks_of(table: bytes, uris: set[str]) -> dict[str, list[dict[str, Any]]]:
    """The tracks of some videos, their paths left out."""
    file = pq.ParquetFile(pa.BufferReader(table))
    columns = [name for name in file.schema_arrow.names if name != "path"]
    found: dict[str, list[dict[str, Any]]] = {uri: [] for uri in uris}
    for batch in file.iter_batches(columns=columns):
        for row in batch.filter(pc.is_in(batch.column("uri"), pa.array(sorted(uris)))).to_pylist():
            found[row["uri"]].append(row)
    return found
