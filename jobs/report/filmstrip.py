"""A few frames of a video, evenly spaced, with what was found drawn into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from cvcore.draw import DrawnBox, Trail, draw_scene
from cvcore.errors import VeedorError
from jobs.overlay import row_boxes
from jobs.report.cards import drawable
from jobs.report.frames import FramePictures
from jobs.report.pictures import data_uri, encode_jpeg
from jobs.report.row_pictures import UNREADABLE
from jobs.visible import visible

NUM_FRAMES = 8
SIDE_PX = 360
MAX_BYTES = 24_000
REASON_CHARS = 200


@dataclass(frozen=True, slots=True)
class StripFrame:
    """One picture of the filmstrip; `picture` is a data URI, or empty with the reason in `missing`."""

    caption: str
    picture: str
    missing: str = ""


def strip_places(num_rows: int) -> frozenset[int]:
    """Which of a video's rows are shown: evenly spaced, the first and the last among them."""
    if num_rows <= NUM_FRAMES:
        return frozenset(range(num_rows))
    return frozenset(round(k * (num_rows - 1) / (NUM_FRAMES - 1)) for k in range(NUM_FRAMES))


def strip_frame(
    row: Mapping[str, Any], caption: str, trails: Sequence[Trail], pictures: FramePictures
) -> StripFrame:
    """The frame of a row. One that cannot be had says why, and costs nothing else."""
    if row["status"] in UNREADABLE:
        return StripFrame(caption, "", visible(f"{row['status']}: {row['error_code'] or 'unknown'}"))
    if not row["width"] or not row["height"]:
        return StripFrame(caption, "", "a frame of unknown size")
    try:
        picture = pictures.small(row, SIDE_PX)
    except (VeedorError, OSError) as error:
        return StripFrame(caption, "", visible(str(error)[:REASON_CHARS]))
    scale = picture.shape[1] / row["width"]
    found = [each for each in row["detections"] or () if drawable(each)]
    tracked = any(each.get("track_id") is not None for each in found)
    drawn = draw_scene(
        picture,
        [_scaled_box(each, scale, tracked=tracked) for each in row_boxes({**row, "detections": found})],
        [_scaled_trail(way, scale) for way in trails],
    )
    return StripFrame(caption, data_uri(encode_jpeg(Image.fromarray(drawn), max_bytes=MAX_BYTES), "jpeg"))


def _scaled_box(each: DrawnBox, scale: float, *, tracked: bool) -> DrawnBox:
    """There is little space: a track is named by its id alone, a class without its score."""
    x0, y0, x1, y1 = (scale * value for value in each.box)
    name = each.text.split(" ")[0] if tracked else each.text.rpartition(" ")[0]
    return replace(each, box=(x0, y0, x1, y1), text=name)


def _scaled_trail(way: Trail, scale: float) -> Trail:
    return replace(way, points=[(scale * x, scale * y, strength) for x, y, strength in way.points])
