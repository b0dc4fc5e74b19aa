"""Pictures of a detector's errors: what it found drawn on a crop of the image, with what is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cvcore.datasets.records import ImageRecord
from cvcore.draw import Color, DrawnBox, draw_scene
from cvcore.errors import VeedorError
from cvcore.image.decode import decode_to_canvas
from cvcore.metrics.detection_errors import DetectionErrors, FalsePositive, Miss
from cvcore.types import InputSpec
from jobs.report.cards import short_name
from jobs.report.pictures import data_uri, encode_jpeg
from jobs.visible import visible

ReadImage = Callable[[str], bytes]
Box = tuple[float, float, float, float]

SIDE_PX, LINE_PX = 280, 2
"""Of a drawn crop the longer side, and the width of lines in it."""
CONTEXT = 0.6
"""Of the boxes' longer side, shown around them."""
LEAST_PX = 48
PICTURE_BYTES = 24_000
FOUND: Color = (213, 94, 0)
TRUE: Color = (86, 180, 233)


@dataclass(frozen=True, slots=True)
class ErrorCard:
    """One error; `picture` is a data URI, or None where `missing` says why there is none."""

    name: str
    title: str
    note: str
    picture: str | None
    missing: str


def false_positive_cards(
    errors: DetectionErrors, records: dict[int, ImageRecord], read: ReadImage
) -> list[ErrorCard]:
    """The worst false positives; what was found is drawn whole, the object that is there dashed."""
    return [_wrong_card(each, records[each.image_id], read) for each in errors.worst]


def miss_cards(errors: DetectionErrors, records: dict[int, ImageRecord], read: ReadImage) -> list[ErrorCard]:
    """The largest objects that were missed."""
    return [_miss_card(each, records[each.image_id], read) for each in errors.misses]


def _wrong_card(error: FalsePositive, record: ImageRecord, read: ReadImage) -> ErrorCard:
    boxes = [DrawnBox(error.box, "", FOUND)]
    note = f"{error.kind}, score {error.score:.2f}"
    if error.true_box is not None:
        boxes.append(DrawnBox(error.true_box, "", TRUE, faint=True))
        note += f", IoU {error.iou:.2f} with {_of(error)}"
    return _card(record, visible(error.label), note, boxes, read)


def _of(error: FalsePositive) -> str:
    if error.kind == "duplicate":
        return "one that is found"
    return visible(str(error.true_label))


def _miss_card(miss: Miss, record: ImageRecord, read: ReadImage) -> ErrorCard:
    width, height = miss.box[2] - miss.box[0], miss.box[3] - miss.box[1]
    note = f"{width:.0f}x{height:.0f} px, in an image of {record.width}x{record.height}"
    return _card(record, visible(miss.label), note, [DrawnBox(miss.box, "", TRUE, faint=True)], read)


def _card(
    record: ImageRecord, title: str, note: str, boxes: Sequence[DrawnBox], read: ReadImage
) -> ErrorCard:
    picture, missing = None, ""
    try:
        shown = draw_crop(read(record.name), boxes, width=record.width, height=record.height)
        picture = data_uri(encode_jpeg(shown, max_bytes=PICTURE_BYTES), "jpeg")
    except (VeedorError, OSError) as error:
        missing = visible(f"The picture cannot be shown: {error}")
    return ErrorCard(short_name(record.name), title, note, picture, missing)


def draw_crop(body: bytes, boxes: Sequence[DrawnBox], *, width: int, height: int) -> Image.Image:
    """The part of an image around boxes (xyxy, pixels of the `width` x `height` image), with them drawn.

    The crop's longer side is `SIDE_PX`, but nothing is enlarged more than four times.

    Raises:
        ImageError: for bytes that are no image.
    """
    left, top, right, bottom = _window([each.box for each in boxes], width, height)
    scale = min(4.0, SIDE_PX / max(right - left, bottom - top))
    # Decoded no larger than it is shown: a small crop of a large picture needs all of its pixels.
    shrink = min(1.0, scale)
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    decoded = decode_to_canvas(body, InputSpec(size[1], size[0], fit="stretch")).canvas
    area = (left * shrink, top * shrink, right * shrink, bottom * shrink)
    out = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    crop = Image.fromarray(decoded).resize(out, Image.Resampling.BICUBIC, box=_inside(area, size))
    moved = [
        DrawnBox(_moved(each.box, left, top, scale), each.text, each.color, each.faint) for each in boxes
    ]
    return Image.fromarray(draw_scene(np.asarray(crop), moved, line_px=LINE_PX))


def _window(boxes: Sequence[Box], width: int, height: int) -> Box:
    """Boxes with context, inside the image."""
    corners = np.array(boxes)
    low, high = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    margin = max(CONTEXT * float((high - low).max()), (LEAST_PX - float((high - low).max())) / 2)
    left, top = np.maximum(low - margin, 0.0).tolist()
    right, bottom = np.minimum(high + margin, [width, height]).tolist()
    return left, top, max(right, left + 1.0), max(bottom, top + 1.0)


def _inside(area: Box, size: tuple[int, int]) -> Box:
    x1, y1 = min(area[0], size[0] - 1e-3), min(area[1], size[1] - 1e-3)
    return x1, y1, min(area[2], float(size[0])), min(area[3], float(size[1]))


def _moved(box: Box, left: float, top: float, scale: float) -> Box:
    x1, y1, x2, y2 = box
    return (x1 - left) * scale, (y1 - top) * scale, (x2 - left) * scale, (y2 - top) * scale
