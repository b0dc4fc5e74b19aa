"""`veedor import FILE --into RUN`: corrections beside a run's own rows, which never change.

Each import is one file, `corrections/<n>.parquet`, created whole: a row an object, with who said it, when and
with which tool. An import says all of an image that it has; a later one takes the place of what was said
before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cvcore.errors import SpecError, did_you_mean
from jobs.export.facts import read_facts
from jobs.export.rows import Choice, ExportRow, iter_rows
from jobs.imports.coco import read_coco
from jobs.imports.cvat import read_cvat
from jobs.imports.files import publish_corrections
from jobs.imports.given import Given, GivenBox, Reader, open_place, scaled
from jobs.imports.label_studio import read_label_studio
from jobs.imports.lookup import GivenIndex
from jobs.imports.match import Change, changes
from jobs.imports.tables import read_csv
from jobs.imports.texts import read_fiftyone, read_mot_texts, read_voc, read_yolo
from jobs.report.run import read_run
from jobs.run_folder import RunFolder
from jobs.storage import Access, open_store, resolve_location

READERS: Mapping[str, Reader] = {
    "coco": read_coco,
    "yolo": read_yolo,
    "voc": read_voc,
    "cvat": read_cvat,
    "label-studio": read_label_studio,
    "fiftyone": read_fiftyone,
    "csv": read_csv,
}
FORMATS = (*READERS, "mot")


@dataclass(frozen=True, slots=True)
class Corrected:
    """What an import said: how many images, and objects by action."""

    uri: str
    num_images: int
    actions: Mapping[str, int]


def read_annotations(source: str, *, of: str, access: Access, labels: tuple[str, ...] = ()) -> list[Given]:
    """What a file or folder of another tool says.

    Args:
        source: where it is.
        of: the format.
        access: to it.
        labels: by class, of MOT text.

    Raises:
        SpecError: for another format, and for a file that is not of this one.
    """
    check_format(of)
    place = open_place(source, access)
    return read_mot_texts(place, labels) if of == "mot" else READERS[of](place)


def check_format(name: str) -> None:
    """Raises `SpecError` for a format that is not read."""
    if name not in FORMATS:
        raise SpecError(
            f"there is no format {name!r}.{did_you_mean(name, FORMATS)} Formats: {', '.join(FORMATS)}."
        )


def import_corrections(
    source: str,
    run: str,
    *,
    of: str,
    who: str,
    access: Access,
    tool: str | None = None,
    shown: Choice | None = None,
    when: datetime | None = None,
) -> Corrected:
    """Note beside a run what a person or a tool says of its images.

    Args:
        source: a file or folder in a format.
        run: the run's folder.
        of: the format.
        who: says it.
        access: to all.
        tool: it was said with; None for the format's.
        shown: which detections were exported, so that others are not rejected; None for all.
        when: it was said; None for now.

    Raises:
        SpecError: if the file is not of the format, has images that are not in the run, or says two things of
            one object. Then nothing is written.
    """
    if not who.strip():
        raise SpecError("who corrects is not said: name someone with --who")
    uri = resolve_location(run)
    store = open_store(uri, access)
    found = read_run(uri, store)
    facts = read_facts(found, store, partial=True)
    given = read_annotations(source, of=of, access=access, labels=facts.labels)
    if not given:
        raise SpecError(f"{source} has no images: there is nothing to import")
    index = GivenIndex(given, facts.source)
    rows: list[dict[str, Any]] = []
    masks = facts.has_masks and any(box.mask or box.outline for each in given for box in each.boxes)
    for row in iter_rows(found.parts, store, source=facts.source, choice=shown or Choice(), masks=masks):
        mine = index.find(row.uri, row.name, row.frame_index)
        if mine is not None:
            rows += [_correction(row, each) for each in _changes(row, mine)]
    index.check_all_found()
    made = {
        "made": when or datetime.now(UTC),
        "who": who.strip(),
        "tool": tool or of,
        "file": resolve_location(source),
    }
    said = [row | made for row in rows]
    where = publish_corrections(RunFolder(uri), store, lambda: said)
    return Corrected(where, len(given), dict(Counter(row["action"] for row in rows)))


def _changes(row: ExportRow, given: Given) -> list[Change]:
    size = given.size if not row.width or not row.height else (row.width, row.height)
    needed = given.in_shares or any(box.outline for box in given.boxes)
    if needed and size is None:
        raise SpecError(
            f"neither the run nor the file knows the size of {row.uri}, and its boxes are shares of it"
        )
    boxes: list[GivenBox] = given.boxes
    if needed and size is not None:
        boxes = [scaled(box, size, in_shares=given.in_shares) for box in given.boxes]
    try:
        return changes(row.found or (), boxes)
    except SpecError as error:
        raise SpecError(f"{row.name}: {error}") from error


def _correction(row: ExportRow, change: Change) -> dict[str, Any]:
    given = change.given
    values: dict[str, Any] = {
        "uri": row.uri,
        "frame_index": row.frame_index,
        "number": change.number,
        "action": change.action,
    }
    if given is not None:
        values |= dict(zip(("x0", "y0", "x1", "y1"), given.box, strict=True))
        values |= {"label": given.label, "track_id": given.track_id, "mask": given.mask}
    return values
