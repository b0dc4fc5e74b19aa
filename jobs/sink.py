"""Publishing: rows to Parquet bytes, create-only, and merging units into files."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.outcome import CLASSIFIED, FOUND, MAPS
from jobs.plan import Plan
from jobs.run_folder import JobRecord, RunFolder, published_numbers
from jobs.schemas import SCHEMA_VERSION
from jobs.storage import ObjectMissing, StorageError, Store

# Enough to count rows, failures and what was found: masks and heat maps, the largest, are not decoded.
SUMMARY_COLUMNS = (
    "status",
    "error_code",
    "detections.list.element.label_id",
    "proposals.list.element.score",
    "labels.list.element.label_id",
    "classes.list.element.label_id",
    "is_anomaly",
)
BOX_COLUMNS = ("detections", "proposals")
KINDS = {"labels": CLASSIFIED, "classes": MAPS}


@dataclass(frozen=True)
class PartSummary:
    """What one published part holds.

    Attributes:
        found: detections, proposals or anomalies, as the job has it; of a classifier and a segmenter, rows
            with labels or maps.
        kind: `CLASSIFIED` or `MAPS` where it is theirs; else what the job's rows are counted for.
        failures: rows by error code.
    """

    number: int
    rows: int
    found: int
    sha256: str
    failures: dict[str, int]
    kind: str | None = None

    @property
    def failed(self) -> int:
        return sum(self.failures.values())


def part_metadata(record: JobRecord) -> dict[bytes, bytes]:
    """What every result file says of itself: nothing of when, where or by whom it was written."""
    return {
        b"veedor.schema_version": str(SCHEMA_VERSION).encode(),
        b"veedor.job_id": record.job_id.encode(),
        b"veedor.model": json.dumps(record.model, sort_keys=True).encode(),
    }


def encode_part(rows: pa.Table, metadata: dict[bytes, bytes]) -> bytes:
    """Rows as zstd Parquet; the same rows give the same bytes."""
    buffer = io.BytesIO()
    table = rows.combine_chunks().replace_schema_metadata(metadata)
    pq.write_table(table, buffer, compression="zstd", store_schema=True)
    return buffer.getvalue()


def decode_part(body: bytes) -> pa.Table:
    """The inverse of `encode_part`, in its own nested types."""
    return pq.read_table(pa.BufferReader(body))


def summarize(number: int, rows: pa.Table, body: bytes) -> PartSummary:
    """Count a part's rows."""
    codes = rows.column("error_code").filter(pc.not_equal(rows.column("status"), "ok"))
    boxes = next((name for name in BOX_COLUMNS if name in rows.column_names), None)
    if boxes is not None:
        found = pc.sum(pc.list_value_length(rows.column(boxes))).as_py() or 0
    elif "is_anomaly" in rows.column_names:
        found = pc.sum(rows.column("is_anomaly")).as_py() or 0
    else:
        found = pc.sum(pc.equal(rows.column("status"), "ok")).as_py() or 0
    failures = Counter(code or "unknown" for code in codes.to_pylist())
    kind = next((kind for name, kind in KINDS.items() if name in rows.column_names), None)
    digest = hashlib.sha256(body).hexdigest()
    return PartSummary(number, rows.num_rows, found, digest, dict(failures), kind)


def publish(
    store: Store, uri: str, number: int, rows: pa.Table, *, metadata: dict[bytes, bytes], writer: str
) -> PartSummary:
    """Create a part, or accept the one that another writer created first."""
    body = encode_part(rows, metadata)
    if store.create(uri, body, writer=writer) != "exists":
        return summarize(number, rows, body)
    return read_summary(store, uri, number, rows=rows.num_rows)


def read_summary(store: Store, uri: str, number: int, *, rows: int) -> PartSummary:
    """Read back a published part.

    Raises:
        StorageError: if it is not a part with as many rows as the plan says.
    """
    body = store.read(uri)
    try:
        file = pq.ParquetFile(pa.BufferReader(body))
        paths = {file.schema.column(index).path for index in range(len(file.schema))}
        table = file.read(columns=[name for name in SUMMARY_COLUMNS if name in paths])
    except pa.ArrowInvalid as error:
        raise StorageError(f"{uri} is not readable Parquet ({error}): delete it and run again") from error
    if table.num_rows != rows:
        raise StorageError(f"{uri} has {table.num_rows} rows, the plan has {rows}: delete it and run again")
    return summarize(number, table, body)


def merge_file(
    store: Store, folder: RunFolder, plan: Plan, file: int, *, metadata: dict[bytes, bytes], writer: str
) -> PartSummary:
    """Merge a file's units, all of which must be published. Any process may do this, twice or late."""
    tables = []
    try:
        for unit in plan.units_of_file(file):
            uri = folder.unit(unit, units_per_file=plan.units_per_file)
            tables.append(decode_part(store.read(uri)))
    except ObjectMissing:
        # Parts go when another driver has finished the job: then the file stands.
        return read_summary(store, folder.file(file), file, rows=file_rows(plan, file))
    return publish(store, folder.file(file), file, pa.concat_tables(tables), metadata=metadata, writer=writer)


def remove_parts(folder: RunFolder, store: Store, *, units_per_file: int) -> None:
    """Delete the units that waited to be merged: once a job is done, nothing needs them."""
    for number in published_numbers(folder.parts, store) if units_per_file > 1 else ():
        store.delete(folder.unit(number, units_per_file=units_per_file))


def pending_units(plan: Plan, folder: RunFolder, store: Store) -> list[int]:
    """Units whose rows are neither published nor merged, in order."""
    files = published_numbers(folder.data, store)
    if plan.units_per_file == 1:
        return [unit for unit in range(plan.num_units) if unit not in files]
    parts = published_numbers(folder.parts, store)
    return [u for u in range(plan.num_units) if u not in parts and u // plan.units_per_file not in files]


def file_rows(plan: Plan, file: int) -> int:
    """How many rows a file must hold."""
    return sum(plan.unit_size(unit) for unit in plan.units_of_file(file))


def success_manifest(record: JobRecord, summaries: list[PartSummary], *, names: list[str]) -> dict[str, Any]:
    """The content of `_SUCCESS.json`.

    Raises:
        StorageError: if rows are missing or too many; inputs = ok + failed, always.
    """
    rows, failed = sum(s.rows for s in summaries), sum(s.failed for s in summaries)
    if rows != record.num_inputs:
        raise StorageError(f"{rows} rows were published for {record.num_inputs} inputs: not finishing")
    failures: Counter[str] = Counter()
    for summary in summaries:
        failures.update(summary.failures)
    kind = next((summary.kind for summary in summaries if summary.kind), None)
    found_as = kind or FOUND.get(record.job, "detections")
    return {
        "schema_version": SCHEMA_VERSION,
        "job": record.job,
        "job_id": record.job_id,
        "code_version": record.code_version,
        "model": record.model,
        "source": record.source,
        "counts": {
            "inputs": rows,
            "ok": rows - failed,
            "failed": failed,
            "images": rows if record.num_images is None else record.num_images,
            "videos": record.num_videos,
            found_as: sum(s.found for s in summaries),
        },
        "failures": dict(sorted(failures.items())),
        "skipped": record.skipped,
        "files": [
            {"name": f"data/{name}", "rows": s.rows, "sha256": s.sha256}
            for name, s in zip(names, summaries, strict=True)
        ],
    }
