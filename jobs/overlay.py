"""What a result row shows in its frame: boxes with their texts, and the ways of tracks until then."""

from __future__ import annotations

from collections import deque
from typing import Any

from cvcore.draw import DrawnBox, Trail, track_color
from jobs.report.colors import label_color, parse_color
from jobs.visible import visible

MAX_LABEL_CHARS = 40


def row_boxes(row: dict[str, Any]) -> list[DrawnBox]:
    """The boxes of a row, coloured by track; in runs without tracks all boxes, coloured by class."""
    return [_drawn(found) for found in row["detections"] or () if found.get("track_id", 0) is not None]


def _drawn(found: dict[str, Any]) -> DrawnBox:
    track_id = found.get("track_id")
    name = "" if track_id is None else f"#{track_id} "
    text = f"{name}{_short(visible(found['label'] or ''))} {found['score']:.2f}"
    x0, y0, x1, y1 = found["box"]
    # Classes have the colours of the report's labels.
    color = parse_color(label_color(found["label_id"] or 0)) if track_id is None else track_color(track_id)
    return DrawnBox((x0, y0, x1, y1), text, color, bool(found.get("interpolated")))


def _short(label: str) -> str:
    return label if len(label) <= MAX_LABEL_CHARS else label[: MAX_LABEL_CHARS - 1] + "…"


class Trails:
    """The ways of tracks over the last seconds, as rows come in order of time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._points: dict[int, deque[tuple[float, float, float]]] = {}

    def add(self, row: dict[str, Any], second: float) -> list[Trail]:
        """Take the next row; returns the trails as they are then."""
        for found in row["detections"] or ():
            if found.get("track_id") is not None:
                x0, y0, x1, y1 = found["box"]
                point = (second, (x0 + x1) / 2, (y0 + y1) / 2)
                self._points.setdefault(found["track_id"], deque()).append(point)
        for points in self._points.values():
            while points and points[0][0] < second - self._seconds:
                points.popleft()
        self._points = {track_id: points for track_id, points in self._points.items() if points}
        return [
            Trail([(x, y, self._strength(second - at)) for at, x, y in points], track_color(track_id))
            for track_id, points in sorted(self._points.items())
        ]

    def _strength(self, age_s: float) -> float:
        return 1.0 - age_s / self._seconds if self._seconds > 0 else 1.0
