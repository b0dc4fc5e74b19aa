"""Reading CSV, as `jobs.export.csv_tables` writes it."""

from __future__ import annotations

import csv
import io

from cvcore.errors import SpecError
from jobs.export.csv_tables import BOX_COLUMNS
from jobs.imports.given import Given, GivenBox, Place, number_of, whole
from jobs.storage import join

_NEEDED = [name for name in BOX_COLUMNS if name not in ("frame_index", "number", "label_id", "score")]


def read_csv(place: Place) -> list[Given]:
    """Boxes of `detections.csv`; with `images.csv` beside it, also which images hold none.

    Raises:
        SpecError: if columns are absent, or a value is no number.
    """
    uri, body = place.document("detections.csv", ".csv")
    found: dict[tuple[str, str], Given] = {}
    images = join(uri.rpartition("/")[0], "images.csv")
    if place.store.exists(images):
        for line in _lines(images, place.store.read(images), ["uri", "frame_index"]):
            _given(found, line)
    for number, line in enumerate(_lines(uri, body, _NEEDED), 2):
        try:
            _given(found, line).boxes.append(_box(line))
        except ValueError as error:
            raise SpecError(f"{uri}, line {number}: {error}") from error
    return list(found.values())


def _lines(uri: str, body: bytes, needed: list[str]) -> list[dict[str, str]]:
    try:
        reader = csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""))
        lines = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise SpecError(f"{uri} is no CSV: {error}") from error
    missing = [name for name in needed if name not in (reader.fieldnames or ())]
    if missing:
        raise SpecError(f"{uri} has no column {', '.join(missing)}")
    return lines


def _given(found: dict[tuple[str, str], Given], line: dict[str, str]) -> Given:
    key = (line["uri"], line.get("frame_index") or "")
    if key not in found:
        found[key] = Given(line["uri"], whole(key[1]), uri=line["uri"], uri_frame=whole(key[1]))
    return found[key]


def _box(line: dict[str, str]) -> GivenBox:
    x0, y0, x1, y1 = (float(line[name]) for name in ("x0", "y0", "x1", "y1"))
    mask = None
    if line.get("mask_counts"):
        mask = {"size": [int(line["mask_height"]), int(line["mask_width"])], "counts": line["mask_counts"]}
    score, number = number_of(line.get("score")), whole(line.get("number"))
    return GivenBox(line["label"], (x0, y0, x1, y1), score, number, whole(line.get("track_id")), mask)
