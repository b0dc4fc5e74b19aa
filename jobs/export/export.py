"""`veedor export`: a run's committed rows in a format, with what a format has no place for beside them."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from cvcore.errors import SpecError, did_you_mean
from jobs.export.coco import CocoWriter
from jobs.export.corrected import read_corrections
from jobs.export.csv_tables import CsvWriter
from jobs.export.cvat import CvatWriter
from jobs.export.facts import check_labels, read_facts, with_corrections
from jobs.export.fiftyone import FiftyOneWriter
from jobs.export.label_studio import LabelStudioWriter
from jobs.export.mot import MotWriter
from jobs.export.options import Options
from jobs.export.outcome import Exported, open_failures
from jobs.export.output import MANIFEST, staged
from jobs.export.panoptic import PANOPTIC, export_panoptic
from jobs.export.queue import Queued
from jobs.export.review_queue import make_queue
from jobs.export.rows import ExportRow
from jobs.export.source import ExportSource
from jobs.export.voc import VocWriter
from jobs.export.writer import Sink, Writer
from jobs.export.yolo import YoloWriter
from jobs.report.run import read_run
from jobs.storage import Access, open_store, resolve_location

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
FORMATS = (*WRITERS, PANOPTIC)
BY_VIDEO = ("cvat", "mot")
COUNTED = ("looked_at", "empty", "failed", "detections", "left_out")
QUEUE = "queue.csv"


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
    if to == PANOPTIC:
        return export_panoptic(run, out=out, access=access, options=options)
    writer_of = WRITERS.get(to)
    if writer_of is None:
        raise SpecError(
            f"there is no format {to!r}.{did_you_mean(to, FORMATS)} Formats: {', '.join(FORMATS)}."
        )
    order, use = options.checked(to)
    uri = resolve_location(run)
    store = open_store(uri, access)
    found = read_run(uri, store)
    facts = read_facts(found, store, partial=options.partial)
    said = None
    if use != "ignore":
        said = read_corrections(uri, store)
        facts = with_corrections(facts, said)
    check_labels(options.choice, facts)
    source = ExportSource(found, facts, store, options.choice, use, said)
    queue, about = (None, {}) if order is None else make_queue(source, order, options, access)
    with staged(out, access=access, overwrite=options.overwrite) as folder:
        sink = Sink(folder)
        polygons = options.masks == "polygons"
        writer = CocoWriter(sink, facts, polygons=True) if polygons else writer_of(sink, facts)
        counts = _write(writer, source, folder, queue=queue, limit=options.limit)
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
            **about,
            "corrections": use,
            "counts": dict(counts),
            "losses": losses,
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    names = ("looked_at", "empty", "failed", "not_looked_at", "detections", "left_out")
    return Exported(resolve_location(out), to, **{name: counts[name] for name in names}, losses=losses)


def _write(
    writer: Writer,
    source: ExportSource,
    folder: Path,
    *,
    queue: Sequence[Queued] | None,
    limit: int | None,
) -> Counter[str]:
    """Write all rows, or a queue in its order; returns counts."""
    counts: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))
    wanted = {queued.entry.ordinal for queued in queue or ()}
    held: dict[int, ExportRow] = {}
    with open_failures(folder) as failures:
        for row in source.rows():
            counts["inputs"] += 1
            if row is None:
                counts["left_out"] += 1
            elif row.found is None:
                counts["failed"] += 1
                failures.add(row)
            elif queue is not None:
                if row.ordinal in wanted:
                    held[row.ordinal] = row
            elif limit is None or counts["looked_at"] < limit:
                _add(writer, row, counts)
    if queue is not None:
        _write_queue(writer, queue, held, folder, counts)
    return counts


def _write_queue(
    writer: Writer,
    queue: Sequence[Queued],
    held: Mapping[int, ExportRow],
    folder: Path,
    counts: Counter[str],
) -> None:
    with (folder / QUEUE).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("rank", "name", "uri", "frame_index", "priority", "alike"))
        for rank, (entry, num_alike) in enumerate(queue, 1):
            row = held[entry.ordinal]
            table.writerow((rank, row.name, row.uri, row.frame_index, entry.priority, num_alike))
            _add(writer, row, counts)


def _add(writer: Writer, row: ExportRow, counts: Counter[str]) -> None:
    writer.add(row)
    found = row.found or ()
    counts["looked_at"] += 1
    counts["empty"] += not found
    counts["detections"] += len(found)
