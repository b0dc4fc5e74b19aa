"""Images as the page's script reads them: what the run says of each, and what people say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jobs.export.corrected import is_decided
from jobs.export.rows import Found
from jobs.report.cards import TEXT_CHARS, display_name, without_location
from jobs.report.row_pictures import UNREADABLE
from jobs.visible import visible


def image_card(
    image: Mapping[str, Any],
    found: Sequence[Found],
    said: Sequence[Mapping[str, Any]],
    *,
    most: int | None = None,
) -> dict[str, Any]:
    """One image as JSON.

    Args:
        image: its row of the index.
        found: its detections.
        said: its corrections.
        most: how many detections are listed; None for all. The best are, in the run's order.
    """
    by_number = {row["number"]: row for row in said if row["number"] is not None}
    listed = found
    if most is not None and len(found) > most:
        listed = sorted(sorted(found, key=lambda each: -(each.score or 0.0))[:most], key=lambda e: e.number)
    return {
        "n": image["ordinal"],
        "uri": visible(image["uri"]),
        "name": display_name(image["uri"]),
        "frame": image["frame_index"],
        "time": _finite(image["timestamp_s"]),
        "w": image["width"] or 0,
        "h": image["height"] or 0,
        "status": image["status"],
        "code": image["error_code"] or "",
        "error": visible(without_location(image["error"] or "", image["uri"])[:TEXT_CHARS]),
        "missing": _missing(image),
        "more": len(found) - len(listed),
        "objects": [_object(each, by_number.get(each.number)) for each in listed],
        "added": [
            {"label": row["label"], "box": _box(row), "who": visible(row["who"])}
            for row in said
            if row["action"] == "add"
        ],
        "lookedAt": image["num_detections"] is not None,
        "decided": image["num_detections"] is not None and is_decided(found, said),
        "saidOf": len(by_number) or sum(row["action"] in ("empty", "add") for row in said),
    }


def _object(found: Found, said: Mapping[str, Any] | None) -> dict[str, Any]:
    x0, y0, x1, y1 = found.box
    box = [x0, y0, x1, y1]
    return {
        "number": found.number,
        "label": found.label,
        "score": _finite(found.score),
        "box": box if all(value is not None and math.isfinite(value) for value in box) else None,
        "track": found.track_id,
        "said": None
        if said is None
        else {
            "action": said["action"],
            "label": said["label"],
            "box": None if said["action"] == "reject" else _box(said),
            "who": visible(said["who"]),
        },
    }


def _box(said: Mapping[str, Any]) -> list[float]:
    return [said["x0"], said["y0"], said["x1"], said["y1"]]


def _missing(image: Mapping[str, Any]) -> str:
    """Why there is no picture to ask for; empty where there may be one."""
    if image["status"] in UNREADABLE:
        return "This input could not be read."
    return "" if image["width"] and image["height"] else "An image of unknown size."


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
