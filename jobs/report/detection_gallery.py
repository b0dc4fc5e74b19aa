"""Pictures of a detector's errors: what it found drawn on a crop of the image, with what is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from PIL import Image

from cvcore.datasets.records import ImageRecord
from cvcore.draw import DrawnBox
from cvcore.errors import VeedorError
from cvcore.image.decode import decode_to_canvas
from cvcore.metrics.detection_errors import DetectionErrors, FalsePositive, Miss
from cvcore.types import InputSpec
from jobs.report.cards import short_name
from jobs.report.crops import FOUND, PICTURE_BYTES, TRUE, ErrorCard, draw_crop
from jobs.report.pictures import data_uri, encode_jpeg
from jobs.visible import visible

ReadImage = Callable[[str], bytes]


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
        body = read(record.name)
        shown = draw_crop(partial(_decode, body), boxes, width=record.width, height=record.height)
        picture = data_uri(encode_jpeg(shown, max_bytes=PICTURE_BYTES), "jpeg")
    except (VeedorError, OSError) as error:
        missing = visible(f"The picture cannot be shown: {error}")
    return ErrorCard(short_name(record.name), title, note, picture, missing)


def _decode(body: bytes, width: int, height: int) -> Image.Image:
    return Image.fromarray(decode_to_canvas(body, InputSpec(height, width, fit="stretch")).canvas)
