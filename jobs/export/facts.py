"""What is known of a run before its rows are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from cvcore.errors import SpecError, did_you_mean
from jobs.export.corrected import Corrections
from jobs.export.queue import label_counts
from jobs.export.rows import Choice, iter_rows
from jobs.export.writer import Facts
from jobs.query.dataset import parquet_schema
from jobs.report.run import Run
from jobs.storage import Store

Column = Literal["detections", "map"]

ALL = Choice()
_NAMES: Mapping[Column, str] = {"detections": "detections", "map": "maps of classes"}


def with_corrections(facts: Facts, said: Corrections) -> Facts:
    """A run's facts with those of its corrections: labels that its model does not have come last."""
    if not said.places:
        return facts
    new = tuple(label for label in said.labels if label not in facts.labels)
    has_masks = said.table.column("mask").null_count < said.table.num_rows
    has_tracks = said.table.column("track_id").null_count < said.table.num_rows
    return replace(
        facts,
        labels=facts.labels + new,
        has_masks=facts.has_masks or has_masks,
        has_tracks=facts.has_tracks or has_tracks,
    )


def read_facts(run: Run, store: Store, *, partial: bool, column: Column = "detections") -> Facts:
    """What a run says of itself.

    Raises:
        SpecError: if it is not finished (unless `partial`), or does not hold the column that is exported.
    """
    record = run.record
    if run.manifest is None and not partial:
        raise SpecError(
            f"{run.uri} is not finished: run its job again, or export what there is with --partial, which is "
            "said in the export"
        )
    if not run.parts:
        raise SpecError(f"{run.uri} has no rows yet: no part of it is published")
    schema = parquet_schema(run.parts[0], store)
    if column not in schema.names:
        raise SpecError(
            f"{run.uri} holds no {_NAMES[column]}, it is of a job {record.job}: {_instead(schema.names)}"
        )
    fields = {child.name for child in schema.field(column).type.value_type} if column == "detections" else ()
    digests = ", ".join(f"{key} {value[:12]}" for key, value in sorted(record.model["digests"].items()))
    labels = record.model.get("labels")
    if not labels:
        labels = sorted(label_counts(iter_rows(run.parts, store, source="", choice=ALL, masks=False)))
    return Facts(
        run=run.uri,
        model_version=" ".join(filter(None, (str(record.model["name"]), digests))),
        labels=tuple(labels),
        source=record.source,
        has_masks="mask" in fields,
        has_tracks="track_id" in fields,
        has_videos=bool(record.num_videos),
        has_images=record.num_images != 0,
        partial=run.manifest is None,
    )


def check_labels(choice: Choice, facts: Facts) -> None:
    """Raises `SpecError` for labels that a run does not have."""
    for label in choice.labels:
        if label not in facts.labels:
            raise SpecError(
                f"the run has no label {label!r}.{did_you_mean(label, facts.labels)} "
                f"Labels: {', '.join(facts.labels[:40])}{'…' if len(facts.labels) > 40 else ''}"
            )


def _instead(columns: list[str]) -> str:
    """What can be done with a run that has such columns."""
    if "map" in columns:
        return "export its maps with --format coco-panoptic"
    if "detections" in columns:
        return "export its detections with --format coco, or another one of detections"
    return "ask it with veedor query"
