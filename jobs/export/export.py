"""`veedor export`: a run's committed rows in a format, with what a format has no place for beside them."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from cvcore.errors import SpecError, did_you_mean
from jobs.export.coco import CocoWriter
from jobs.export.corrected import USES, Corrections, Use, corrected, is_decided, read_corrections
from jobs.export.csv_tables import CsvWriter
from jobs.export.cvat import CvatWriter
from jobs.export.facts import check_labels, read_facts, with_corrections
from jobs.export.fiftyone import FiftyOneWriter
from jobs.export.label_studio import LabelStudioWriter
from jobs.export.mot import MotWriter
from jobs.export.output import MANIFEST, staged
from jobs.export.queue import ORDERS, Order, choose
from jobs.export.rows import Choice, ExportRow, iter_rows
from jobs.export.voc import VocWriter
from jobs.export.writer import Facts, Sink, Writer
from jobs.export.yolo import YoloWriter
from jobs.report.run import Run, read_run
from jobs.storage import Access, Store, open_store, resolve_location

WRITERS: Mapping[str, type[Writer]] = {
    "coco": CocoWriter,
    "yolo": YoloWriter,
    "voc": VocWriter,
    "cvat": CvatWriter,
    "label-studio": LabelStudioWriter,
    "mot": MotWriter,
    "fiftyone": FiftyOneWriter,
    "csv": CsvWriter,
}
MASKS = ("rle", "polygons")
BY_VIDEO = ("cvat", "mot")
COUNTED = ("looked_at", "empty", "failed", "detections", "undecided")
FAILURES, QUEUE = "failures.csv", "queue.csv"
ALL = Choice()


@dataclass(frozen=True, slots=True)
class Options:
    """What is exported, and how.

    Attributes:
        choice: of detections.
        order: of a review queue; None for the run's own.
        limit: of images that were looked at; None for all.
        seed: of what is drawn.
        partial: whether a run that is not finished may be exported.
        overwrite: whether what is at `out` is replaced.
        corrections: whether detections are as people left them (`apply`), and whether that is all there is:
            `only` the images of which they decided everything.
        masks: how COCO's annotations have them: `rle` or `polygons`.
    """

    choice: Choice = ALL
    order: str | None = None
    limit: int | None = None
    seed: int = 0
    partial: bool = False
    overwrite: bool = False
    corrections: str = "ignore"
    masks: str = "rle"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: `looked_at` images, of which `empty` hold nothing, and how many were not.

    `undecided` images were left out, as nobody decided all of them. `losses` says what the format could not
    hold, and how often it was there.
    """

    uri: str
    format: str
    looked_at: int
    empty: int
    failed: int
    not_looked_at: int
    detections: int
    undecided: int
    losses: Mapping[str, int]


def export_run(run: str, *, to: str, out: str, access: Access, options: Options | None = None) -> Exported:
    """Write a run in another tool's format; nothing is left of an export that fails.

    Beside the format's own files are `failures.csv`, which inputs failed and why, and `veedor.json`: where
    all this is from, and how many inputs were looked at, failed, and (of a run that is not finished) were
    neither.

    Raises:
        SpecError: for another format, a run without detections or not finished, an `out` that is in use, and
            for what the format cannot hold.
    """
    options = options or Options()
    writer_of = WRITERS.get(to)
    if writer_of is None:
        raise SpecError(
            f"there is no format {to!r}.{did_you_mean(to, WRITERS)} Formats: {', '.join(WRITERS)}."
        )
    order, polygons = _order(options, to), _polygons(options, to)
    use = _use(options)
    uri = resolve_location(run)
    store = open_store(uri, access)
    found = read_run(uri, store)
    facts = read_facts(found, store, partial=options.partial)
    said = None
    if use != "ignore":
        said = read_corrections(uri, store)
        facts = with_corrections(facts, said)
    check_labels(options.choice, facts)
    source = _Source(found, facts, store, options, said)
    with staged(out, access=access, overwrite=options.overwrite) as folder:
        sink = Sink(folder)
        writer = CocoWriter(sink, facts, polygons=True) if polygons else writer_of(sink, facts)
        counts = _write(writer, source, folder, order)
        writer.close()
        counts["not_looked_at"] = found.record.num_inputs - counts["inputs"]
        losses = dict(+sink.losses)
        manifest = {
            "run": uri,
            "job_id": found.record.job_id,
            "model": facts.model_version,
            "format": to,
            "partial": facts.partial,
            "labels": list(options.choice.labels) or None,
            "min_score": options.choice.min_score,
            "order": order,
            "limit": options.limit,
            "corrections": use,
            "counts": dict(counts),
            "losses": losses,
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    names = ("looked_at", "empty", "failed", "not_looked_at", "detections", "undecided")
    return Exported(resolve_location(out), to, **{name: counts[name] for name in names}, losses=losses)


def _polygons(options: Options, to: str) -> bool:
    if options.masks not in MASKS:
        raise SpecError(
            f"there is no form of masks {options.masks!r}.{did_you_mean(options.masks, MASKS)} "
            f"Forms: {', '.join(MASKS)}."
        )
    if options.masks != "rle" and to != "coco":
        raise SpecError(f"coco alone has masks in several forms: leave masks out, {to} has its own")
    return options.masks == "polygons"


def _order(options: Options, to: str) -> Order | None:
    if options.limit is not None and options.limit < 1:
        raise SpecError(f"limit must be at least 1, got {options.limit}")
    if options.order is None:
        return None
    order = next((each for each in ORDERS if each == options.order), None)
    if order is None:
        raise SpecError(
            f"there is no order {options.order!r}.{did_you_mean(options.order, ORDERS)} "
            f"Orders: {', '.join(ORDERS)}."
        )
    if options.limit is None:
        raise SpecError(f"order {order} needs a limit: a queue is as long as what a person will look at")
    if to == "mot":
        raise SpecError("MOT text is of whole videos in their order: leave the order out")
    return order


def _use(options: Options) -> Use:
    use = next((each for each in USES if each == options.corrections), None)
    if use is None:
        raise SpecError(
            f"corrections can be used so: {', '.join(USES)}; not {options.corrections!r}."
            f"{did_you_mean(options.corrections, USES)}"
        )
    return use


@dataclass(frozen=True, slots=True)
class _Source:
    """A run's rows, to be read as often as needed."""

    run: Run
    facts: Facts
    store: Store
    options: Options
    said: Corrections | None

    def rows(self, *, masks: bool = True) -> Iterator[ExportRow | None]:
        """All rows, None for those of which not all was decided where that is asked for."""
        choice, said = self.options.choice, self.said
        every = choice if said is None else ALL
        rows = iter_rows(self.run.parts, self.store, source=self.facts.source, choice=every, masks=masks)
        if said is None:
            yield from rows
            return
        index = self.facts.label_index
        for row in rows:
            mine = said.of((row.uri, row.frame_index))
            if row.found is None:
                yield row
            elif self.options.corrections == "only" and not is_decided(row.found, mine):
                yield None
            else:
                yield choice.narrow(corrected(row, mine, index) if mine else row)

    def looked_at(self) -> Iterator[ExportRow]:
        return (row for row in self.rows(masks=False) if row is not None and row.found is not None)


def _write(writer: Writer, source: _Source, folder: Path, order: Order | None) -> Counter[str]:
    """Write all rows; returns counts."""
    options = source.options
    counts: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))
    queue: dict[int, float] = {}
    if order is not None:
        assert options.limit is not None
        queue = choose(source.looked_at, order, limit=options.limit, seed=options.seed)
    held: dict[int, ExportRow] = {}
    with (folder / FAILURES).open("w", encoding="utf-8", newline="") as file:
        failures = _Failures(file)
        for row in source.rows():
            counts["inputs"] += 1
            if row is None:
                counts["undecided"] += 1
            elif row.found is None:
                counts["failed"] += 1
                failures.add(row)
            elif order is not None:
                if row.ordinal in queue:
                    held[row.ordinal] = row
            elif options.limit is None or counts["looked_at"] < options.limit:
                _add(writer, row, counts)
    if order is not None:
        with (folder / QUEUE).open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(("rank", "name", "uri", "frame_index", "priority"))
            for rank, (ordinal, priority) in enumerate(queue.items(), 1):
                row = held[ordinal]
                table.writerow((rank, row.name, row.uri, row.frame_index, priority))
                _add(writer, row, counts)
    return counts


def _add(writer: Writer, row: ExportRow, counts: Counter[str]) -> None:
    writer.add(row)
    found = row.found or ()
    counts["looked_at"] += 1
    counts["empty"] += not found
    counts["detections"] += len(found)


class _Failures:
    """The table of inputs that failed."""

    def __init__(self, file: TextIO) -> None:
        self._table = csv.writer(file, lineterminator="\n")
        self._table.writerow(("uri", "frame_index", "status", "error_code", "error"))

    def add(self, row: ExportRow) -> None:
        self._table.writerow((row.uri, row.frame_index, row.status, row.error_code, row.error))
