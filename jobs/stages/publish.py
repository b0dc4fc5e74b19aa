"""The writing stage: a unit's rows become its part, and one summary row goes on to the driver."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

import pyarrow as pa

from jobs.board import Tally
from jobs.run_folder import RunFolder
from jobs.sink import PartSummary, publish
from jobs.stages.decode import process_store
from jobs.storage import Access, is_s3


@dataclass(frozen=True)
class PublishSettings:
    """What a writing task needs besides the rows."""

    folder: RunFolder
    units_per_file: int
    metadata: dict[bytes, bytes]
    access: Access
    writer: str
    tally: Tally


def publish_unit(batch: pa.Table, *, settings: PublishSettings) -> pa.Table:
    """Publish one unit; returns its `PartSummary` as JSON in one row."""
    began = time.monotonic()
    units = set(batch.column("unit").to_pylist())
    assert len(units) == 1, f"a block holds one unit, got {sorted(units)}"
    unit = units.pop()
    store = process_store(is_s3(settings.folder.uri), settings.access)
    uri = settings.folder.unit(unit, units_per_file=settings.units_per_file)
    rows = batch.drop_columns(["unit"])
    summary = publish(store, uri, unit, rows, metadata=settings.metadata, writer=settings.writer)
    settings.tally.done("write", unit, rows.column("status"), seconds=time.monotonic() - began)
    if settings.tally.telemetry is not None:
        settings.tally.telemetry.published(rows=summary.rows, failures=summary.failures)
    return pa.table({"summary": [json.dumps(asdict(summary))]})


def read_summaries(block: pa.Table) -> list[PartSummary]:
    """What `publish_unit` put into its rows."""
    return [PartSummary(**json.loads(text)) for text in block.column("summary").to_pylist()]
