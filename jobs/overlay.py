"""What a result row shows in its frame: boxes with their texts, and the ways of tracks until then."""

from __future__ import annotations

from collections import deque
from typing import Any

from cvcore.draw import DrawnBox, Trail, track_color
from jobs.visible import visible


def row_boxes(row: dict[str, Any]) -> list[DrawnBox]:
    """The boxes of a row, coloured by track; in runs without tracks all boxes, coloured by class."""
    return [_drawn(found) for found in row["detections"] or () if found.get("track_id", 0) is not None]


def _drawn(found: dict[str, Any]) -> DrawnBox:
    track_id = found.get("track_id")
    name = "" if track_id is None else f"#{track_id} "
    text = f"{name}{visible(str(found['label']))} {found['score']:.2f}"
    x0, y0, x1, y1 = found["box"]
    color = track_color(found["label_id"] if track_id is None else track_id)
    return DrawnBox((x0, y0, x1, y1), text, color, bool(found.get("interpolated")))


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
            Trail([(x, y) for _, x, y in points], track_color(track_id))
            for track_id, points in sorted(self._points.items())
        ]
