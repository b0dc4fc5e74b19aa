"""Cards of the gallery: chosen rows with their pictures, as the page's script reads them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from cvcore.datasets.mask_files import read_mask
from cvcore.errors import ImageError
from jobs.report.colors import label_color
from jobs.report.gallery import Candidate
from jobs.report.map_pictures import map_uri, shrunk
from jobs.report.pictures import data_uri, draw_mask, encode_jpeg
from jobs.report.row_pictures import PictureMissing, RowPictures
from jobs.report.rows import kind_of, read_rows, shares_of, with_detections
from jobs.storage import Store, base_name
from jobs.visible import visible

MAX_BOXES = 100
MAX_MASKS = 30
MAP_SIDES_PX = (512, 384, 256, 192)
PICTURE_BYTES = 4 * 2**20
MASK_BYTES = 2**20
TEXT_CHARS = 2000
READERS = 4

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Card:
    """One image of the gallery.

    Attributes:
        row: the result row, as Parquet holds it.
        picture: a JPEG data URI, or None.
        missing: why there is no picture; empty where there is one.
        masks: a mask's box and data URI for each drawn detection, or None; as long as `detections`.
        detections: best first, at most `MAX_BOXES`; of a classifier, labels, which have no box.
        num_hidden: detections beyond those.
        map: a data URI of a segmenter's map, or None.
    """

    row: Mapping[str, Any]
    picture: str | None
    missing: str
    detections: Sequence[Mapping[str, Any]]
    masks: Sequence[Any]
    num_hidden: int
    map: str | None = None

    def as_json(self, label_index: Mapping[str, int]) -> dict[str, Any]:
        """The card as the page's script reads it; short keys, because there are many."""
        row = self.row
        return {
            "uri": visible(row["uri"]),
            "name": display_name(row["uri"]),
            "frame": row.get("frame_index"),
            "time": _finite(row.get("timestamp_s")),
            "w": row.get("width") or 0,
            "h": row.get("height") or 0,
            "status": row["status"],
            "code": row.get("error_code") or "",
            "error": visible(without_location(row.get("error") or "", row["uri"])[:TEXT_CHARS]),
            "picture": self.picture,
            "missing": visible(self.missing[:TEXT_CHARS]),
            "more": self.num_hidden,
            "map": self.map,
            "dets": [
                [label_index[d["label"] or ""], round(d["score"], 4), _rounded(d.get("box")), mask]
                for d, mask in zip(self.detections, self.masks, strict=True)
            ],
        }


def _rounded(box: Sequence[float] | None) -> list[float] | None:
    return None if box is None else [round(v, 1) for v in box]


def display_name(uri: str) -> str:
    """The last name of a location."""
    return visible(base_name(uri) or uri)


def short_name(uri: str) -> str:
    """The last name of a location, and that of its folder, which often says what it is of."""
    folder = base_name(uri.rpartition("/")[0])
    return visible(f"{folder}/") * bool(folder) + display_name(uri)


def without_location(message: str, uri: str) -> str:
    """A message without the location it begins with, for places that show the location anyway."""
    return message.removeprefix(f"{uri}: ")


def fetch_rows(store: Store, chosen: Iterable[Candidate]) -> dict[Place, dict[str, Any]]:
    """Read the chosen rows, opening each part once and one part at a time."""
    wanted: dict[str, set[int]] = defaultdict(set)
    for candidate in chosen:
        wanted[candidate.part].add(candidate.row)
    found: dict[Place, dict[str, Any]] = {}
    for part in sorted(wanted):
        for number, row in read_rows(store.read(part), wanted[part]).items():
            found[part, number] = row
    return found


def make_cards(
    rows: Mapping[Place, dict[str, Any]],
    pictures: RowPictures,
) -> dict[Place, Card]:
    """Turn rows into cards. Pictures are read by several threads.

    A picture that cannot be had costs its place on the page, never the page.
    """
    share = max(1, len(rows))
    max_bytes, max_mask_bytes = PICTURE_BYTES // share, MASK_BYTES // share

    def make(row: dict[str, Any]) -> Card:
        return _make_card(row, pictures, max_bytes=max_bytes, max_mask_bytes=max_mask_bytes)

    with ThreadPoolExecutor(READERS) as pool:
        return dict(zip(rows, pool.map(make, rows.values()), strict=True))


def _make_card(row: dict[str, Any], pictures: RowPictures, *, max_bytes: int, max_mask_bytes: int) -> Card:
    found = sorted(_shown(row), key=lambda d: -d["score"])
    kept = found[:MAX_BOXES]
    picture, missing = None, ""
    try:
        picture = data_uri(encode_jpeg(pictures.open(row), max_bytes=max_bytes), "jpeg")
    except PictureMissing as error:
        missing = str(error)
    masks = mask_pictures(row, kept, max_bytes=max_mask_bytes) if picture else [None] * len(kept)
    drawn = _map(row, max_bytes=max_mask_bytes) if picture else None
    return Card(row, picture, missing, kept, masks, len(found) - len(kept), drawn)


def _shown(row: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """What can be shown of a row: its detections or proposals, its labels, or the classes in its map."""
    kind = kind_of(row)
    if kind == "classes":
        return shares_of(row)
    if kind == "labels":
        return [told for told in row["labels"] or () if _finite(told.get("score")) is not None]
    return [found for found in with_detections(row).get("detections") or () if drawable(found)]


def drawable(detection: Mapping[str, Any]) -> bool:
    """Whether a detection has a box and a score, all of them finite."""
    box, score = detection.get("box"), detection.get("score")
    return box is not None and score is not None and all(math.isfinite(v) for v in [*box, score])


def mask_pictures(
    row: Mapping[str, Any], detections: Sequence[Mapping[str, Any]], *, max_bytes: int
) -> list[Any]:
    """Masks of the first detections, until the allowance is spent: each its box and data URI, or None."""
    drawn: list[Any] = []
    spent = 0
    for detection in detections:
        rle = detection.get("mask")
        if not rle or len(drawn) >= MAX_MASKS or spent > max_bytes:
            drawn.append(None)
            continue
        color = label_color(detection.get("label_id") or 0)
        mask = draw_mask(rle, width=row["width"], height=row["height"], color=color)
        spent += len(mask.uri) if mask else 0
        drawn.append([*mask.box, mask.uri] if mask else None)
    return drawn


def _map(row: Mapping[str, Any], *, max_bytes: int) -> str | None:
    """A row's class map, no larger than the picture, and coarser until it fits the allowance."""
    if not row.get("map"):
        return None
    try:
        ids = read_mask(row["map"], name=row["uri"])
    except ImageError:
        return None
    names = {each["label_id"]: each["label"] for each in row["classes"] or ()}
    labels = [names.get(k, "") for k in range(max(names, default=0) + 1)]
    uri = ""
    for side_px in MAP_SIDES_PX:
        uri = map_uri(shrunk(ids, side_px), labels)
        if len(uri) <= max_bytes:
            break
    return uri


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
