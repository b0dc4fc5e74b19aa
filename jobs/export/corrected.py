"""A run's rows as people left them: its detections with what was said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import duckdb
import pyarrow as pa

from jobs.export.rows import Box, ExportRow, Found
from jobs.query.dataset import parquet_dataset
from jobs.query.session import correction_files
from jobs.query.views import CORRECTIONS, latest
from jobs.run_folder import RunFolder
from jobs.storage import Store

Use = Literal["ignore", "apply", "only", "undecided"]
USES: tuple[Use, ...] = get_args(Use)

FIRST_ADDED = 2**40
"""Ordinals of objects that were added begin behind those of any run's detections."""
_MOST_ADDED = 2**16
"""To one image, so that ordinals differ."""

Image = tuple[str, int | None]


@dataclass(frozen=True, slots=True)
class Corrections:
    """The latest corrections of each image that was corrected, held as Arrow columns.

    Attributes:
        table: sorted by image.
        places: where in it each image begins and ends.
        labels: all that it says.
    """

    table: pa.Table
    places: Mapping[Image, tuple[int, int]]
    labels: tuple[str, ...]

    def of(self, image: Image) -> list[dict[str, Any]]:
        """What was said of an image; nothing for most."""
        start, stop = self.places.get(image, (0, 0))
        said: list[dict[str, Any]] = self.table.slice(start, stop - start).to_pylist()
        return said


def read_corrections(run_uri: str, store: Store, images: Sequence[Image] | None = None) -> Corrections:
    """What was imported into a run and still counts.

    Args:
        run_uri: its folder.
        store: that holds it.
        images: of these alone; None for all.
    """
    files = correction_files(RunFolder(run_uri), store)
    if not files:
        return Corrections(pa.table({}), {}, ())
    with duckdb.connect(":memory:") as connection:
        connection.register(CORRECTIONS, parquet_dataset(files, store))
        of = CORRECTIONS
        if images is not None:
            uris, frames = [uri for uri, _ in images], [frame for _, frame in images]
            connection.register("wanted", pa.table({"uri": uris, "frame": pa.array(frames, pa.int32())}))
            of = (
                f"(select c.* from {CORRECTIONS} c join wanted w on c.uri = w.uri "
                "and c.frame_index is not distinct from w.frame)"
            )
        table = connection.sql(f"{latest(of)} order by uri, frame_index, number").to_arrow_table()
    keys = list(zip(table.column("uri").to_pylist(), table.column("frame_index").to_pylist(), strict=True))
    starts = [k for k, key in enumerate(keys) if k == 0 or key != keys[k - 1]]
    stops = [*starts[1:], len(keys)]
    labels = {label for label in table.column("label").unique().to_pylist() if label is not None}
    places = {keys[start]: (start, stop) for start, stop in zip(starts, stops, strict=True)}
    return Corrections(table, places, tuple(sorted(labels)))


def corrected(row: ExportRow, said: Sequence[Mapping[str, Any]], label_index: Mapping[str, int]) -> ExportRow:
    """A row that was looked at, with its corrections applied.

    What was added gets the next numbers, and ordinals from `FIRST_ADDED` that its image decides alone.

    Args:
        row: with all of its detections.
        said: its corrections.
        label_index: ids of labels.
    """
    by_number = {each["number"]: each for each in said if each["number"] is not None}
    kept = [
        _changed(found, by_number.get(found.number), label_index)
        for found in row.found or ()
        if by_number.get(found.number, {}).get("action") != "reject"
    ]
    number = len(row.found or ())
    for k, each in enumerate(each for each in said if each["action"] == "add"):
        ordinal = FIRST_ADDED + row.ordinal * _MOST_ADDED + k
        box = _box(each)
        kept.append(
            Found(
                number + k,
                ordinal,
                box,
                each["label"],
                label_index[each["label"]],
                None,
                each["track_id"],
                False,
                each["mask"],
            )
        )
    return replace(row, found=tuple(kept))


def _changed(found: Found, said: Mapping[str, Any] | None, label_index: Mapping[str, int]) -> Found:
    if said is None:
        return found
    mask = said["mask"]
    if mask is None and said["action"] != "move":
        mask = found.mask  # nothing was said of it, and the box is the same
    return replace(
        found,
        box=_box(said),
        label=said["label"],
        label_id=label_index[said["label"]],
        track_id=said["track_id"],
        mask=mask,
    )


def _box(said: Mapping[str, Any]) -> Box:
    return said["x0"], said["y0"], said["x1"], said["y1"]


def is_decided(found: Sequence[Found], said: Sequence[Mapping[str, Any]]) -> bool:
    """Whether of an image all was decided, as the view `decided` has it."""
    numbers = {each["number"] for each in said if each["number"] is not None}
    if found:
        return all(each.number in numbers for each in found)
    return any(each["action"] in ("empty", "add") for each in said)
