"""A video's time, as plain shapes: its axis, counts over it, frames that failed, and tracks."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from cvcore.draw import track_color
from jobs.report import text
from jobs.report.cards import drawable, without_location
from jobs.report.colors import ink_color, label_color
from jobs.visible import visible

MAX_TRACKS = 60
MAX_SPANS = 200
MAX_LABELS = 5
ERROR_CHARS = 200
# Least width of a mark: what lasts one frame must still be seen and pointed at.
MIN_WIDTH = 0.004
# Shares of the page's width that a name needs, about: inside of its bar, or beside it.
CHAR_WIDTH = 0.0065
NAME_CHARS = 24
Side = Literal["inside", "left", "right"]


@dataclass(frozen=True, slots=True)
class CountLine:
    """Detections of one label over time: `path` as SVG has it, in a box of 1000 by 100."""

    label: str
    color: str
    path: str


@dataclass(frozen=True, slots=True)
class FailedMark:
    """A span of time with frames that failed: where, 0 to 1, and why."""

    start: float
    width: float
    title: str


@dataclass(frozen=True, slots=True)
class TrackSpan:
    """When a track was seen, on the axis; `length` counts its detections."""

    track_id: int
    label: str
    first: float
    last: float
    length: int
    mean_score: float | None


@dataclass(frozen=True, slots=True)
class TrackBar:
    """A track's bar: `start` and `width` are shares of the video's time, 0 to 1.

    Attributes:
        name_at: where the name is, 0 to 1, and on which `side` of that place it is written.
        ink: what reads on `color`.
    """

    name: str
    title: str
    color: str
    ink: str
    start: float
    width: float
    side: Side
    name_at: float


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """From the first row's time to the last's, in seconds, or in frames where times are not known."""

    first: float
    last: float
    unit: Literal["s", "frame"]

    def place(self, frame_index: int, timestamp_s: float | None) -> float:
        """Where a row is on the axis."""
        return float(frame_index) if self.unit == "frame" or timestamp_s is None else float(timestamp_s)

    def share(self, at: float) -> float:
        """0 at the first row, 1 at the last."""
        if self.last <= self.first:
            return 0.0
        return min(1.0, max(0.0, (at - self.first) / (self.last - self.first)))

    def text(self, at: float) -> str:
        return text.clock(at) if self.unit == "s" else f"frame {at:.0f}"

    def ticks(self) -> tuple[tuple[str, float], ...]:
        """The ends and quarters, and where they are, 0 to 1."""
        if self.last <= self.first:
            return ((self.text(self.first), 0.0),)
        length = self.last - self.first
        return tuple((self.text(self.first + k / 4 * length), k / 4) for k in range(5))


@dataclass(slots=True)
class _Failures:
    """Failed frames of one span: which, and how many for each reason; `error` is the first's message."""

    first: int
    last: int
    error: str
    reasons: Counter[str] = field(default_factory=Counter)

    def title(self) -> str:
        if self.reasons.total() == 1:
            (reason,) = self.reasons
            return f"frame {self.first}: {reason}" + (f": {self.error}" if self.error else "")
        told = "; ".join(f"{reason}: {count}" for reason, count in self.reasons.most_common())
        return f"frames {self.first} to {self.last}: {told}"


class FrameCounts:
    """What was found in a video's rows, and which failed, in spans of equal time."""

    def __init__(self, num_rows: int) -> None:
        self._num_spans = max(1, min(MAX_SPANS, num_rows))
        self._num_ok = [0] * self._num_spans
        self._found: dict[tuple[str, int], list[int]] = {}
        self._failures: dict[int, _Failures] = {}

    def add(self, row: dict[str, Any], share: float) -> None:
        """Count a row at its place, 0 to 1. One that failed was not looked at: it is no row with nothing."""
        span = min(self._num_spans - 1, int(share * self._num_spans))
        if row["status"] != "ok":
            self._fail(span, row)
            return
        self._num_ok[span] += 1
        for label, count in Counter(_labels(row)).items():
            self._found.setdefault(label, [0] * self._num_spans)[span] += count

    @property
    def num_more_labels(self) -> int:
        """How many have no line."""
        return max(0, len(self._found) - MAX_LABELS)

    def lines(self) -> tuple[tuple[CountLine, ...], float]:
        """Mean detections a frame of the commonest labels; and the largest of them, nearly on top."""
        common = sorted(self._found.items(), key=lambda item: (-sum(item[1]), item[0]))[:MAX_LABELS]
        means = [
            (label, [n / ok if ok else None for n, ok in zip(counts, self._num_ok, strict=True)])
            for label, counts in common
        ]
        most = max((mean for _, each in means for mean in each if mean is not None), default=0.0)
        lines = (
            CountLine(name, label_color(label_id), self._path(each, most)) for (name, label_id), each in means
        )
        return tuple(lines), most

    def _path(self, means: list[float | None], most: float) -> str:
        """Spans without frames are passed over; where frames were lost, the line breaks."""
        commands: list[str] = []
        lost = True
        for span, mean in enumerate(means):
            if mean is None:
                lost = lost or span in self._failures
                continue
            point = f"{1000 * (span + 0.5) / self._num_spans:.0f},{100 - 96 * mean / (most or 1):.1f}"
            # A second, equal point shows a line of one point as a dot.
            commands.append(f"M{point}L{point}" if lost else f"L{point}")
            lost = False
        return "".join(commands)

    def failed(self) -> tuple[FailedMark, ...]:
        """A mark for each span with failed frames."""
        width = max(MIN_WIDTH, 1 / self._num_spans)
        return tuple(
            FailedMark(min(span / self._num_spans, 1 - width), width, failures.title())
            for span, failures in sorted(self._failures.items())
        )

    def _fail(self, span: int, row: dict[str, Any]) -> None:
        frame = row["frame_index"]
        error = visible(without_location(row["error"] or "", row["uri"])[:ERROR_CHARS])
        failures = self._failures.setdefault(span, _Failures(frame, frame, error))
        failures.first, failures.last = min(failures.first, frame), max(failures.last, frame)
        failures.reasons[visible(f"{row['status']}, {row['error_code'] or 'unknown'}")] += 1


def _labels(row: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Labels of detections that count: of a track run, of those that belong to a track."""
    for found in row["detections"] or ():
        if found.get("track_id", 0) is not None:
            yield visible(found["label"] or ""), int(found["label_id"] or 0)


@dataclass(slots=True)
class _Seen:
    """A track so far: its ends, its detections, and the sum of scores of each label."""

    first: float
    last: float
    length: int = 0
    scores: dict[str, float] = field(default_factory=dict)


class TracksOfRows:
    """Tracks gathered from rows, of runs without a table of them: imports, and those not finished yet."""

    def __init__(self) -> None:
        self._tracks: dict[int, _Seen] = {}

    def add(self, row: dict[str, Any], at: float) -> None:
        """Take the next row, at its place on the axis. Interpolated boxes were not seen, and do not count."""
        for found in row["detections"] or ():
            track_id = found.get("track_id")
            if track_id is None or found.get("interpolated") or not drawable(found):
                continue
            track = self._tracks.setdefault(track_id, _Seen(at, at))
            track.last = at
            track.length += 1
            label = found["label"] or ""
            track.scores[label] = track.scores.get(label, 0.0) + found["score"]

    def spans(self) -> list[TrackSpan]:
        """Each track, under the label with the largest sum of scores."""
        return [
            TrackSpan(
                track_id,
                min(track.scores, key=lambda label: (-track.scores[label], label)),
                track.first,
                track.last,
                track.length,
                sum(track.scores.values()) / track.length,
            )
            for track_id, track in sorted(self._tracks.items())
        ]


def spans_of_table(table: Iterable[dict[str, Any]], axis: TimeAxis) -> list[TrackSpan]:
    """Rows of `tracks.parquet`, of one video."""
    return [
        TrackSpan(
            int(row["track_id"]),
            row["label"] or "",
            axis.place(row["first_frame"], row["first_s"]),
            axis.place(row["last_frame"], row["last_s"]),
            int(row["length"]),
            row["mean_score"],
        )
        for row in table
    ]


def track_bars(spans: list[TrackSpan], axis: TimeAxis) -> tuple[list[TrackBar], int]:
    """The longest tracks in the order of their start, and how many there are in all."""
    longest = heapq.nsmallest(MAX_TRACKS, spans, key=lambda span: (-span.length, span.track_id))
    longest.sort(key=lambda span: (span.first, span.track_id))
    return [_bar(span, axis) for span in longest], len(spans)


def _bar(span: TrackSpan, axis: TimeAxis) -> TrackBar:
    name = f"#{span.track_id} {visible(span.label)}".rstrip()
    title = (
        f"{name}: {axis.text(span.first)} to {axis.text(span.last)}, {text.plural(span.length, 'detection')}"
    )
    if span.mean_score is not None and math.isfinite(span.mean_score):
        title += f", mean score {span.mean_score:.2f}"
    start = min(axis.share(span.first), 1.0 - MIN_WIDTH)
    width = max(MIN_WIDTH, axis.share(span.last) - start)
    short = name if len(name) <= NAME_CHARS else name[: NAME_CHARS - 1] + "…"
    color = "#{:02x}{:02x}{:02x}".format(*track_color(span.track_id))
    side, name_at = _name_place(start, width, CHAR_WIDTH * (len(short) + 2))
    return TrackBar(short, title, color, ink_color(color), start, width, side, name_at)


def _name_place(start: float, width: float, needed: float) -> tuple[Side, float]:
    """Right of the bar where there is room, else left of it, else inside."""
    if start + width + needed <= 1.0:
        return "right", start + width
    return ("left", start) if start >= needed else ("inside", start)
