"""What is called an anomaly now: decisions on the rows of a folder's scans, which a threshold may change.

<root>/threshold.json                what `veedor threshold` was asked for, last
<root>/decisions/part-<scan>.parquet one row for each input that a scan scored; replaced, never its scores
<root>/calibrations/<sha256>.json    the calibrations that scans were made with
"""

from __future__ import annotations

import heapq
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cvcore.anomaly.calibration import Threshold
from cvcore.errors import SpecError
from jobs.calibration import CalibrationFile, decode_calibration
from jobs.ledger import Ledger
from jobs.run_folder import RunFolder, part_name, published_numbers, read_job
from jobs.run_rows import read_file
from jobs.storage import Access, Store, join, open_store, resolve_location

COLUMNS = ("uri", "etag", "frame_index", "status", "anomaly_score", "anomaly_raw")
DECISION_SCHEMA = pa.schema(
    [
        pa.field("uri", pa.string()),
        pa.field("etag", pa.string()),
        pa.field("frame_index", pa.int32()),
        pa.field("anomaly_score", pa.float32()),
        pa.field("anomaly_raw", pa.float32()),
        pa.field("is_anomaly", pa.bool_()),
        pa.field("scan", pa.int32()),
        pa.field("part", pa.int32()),
    ]
)
"""`part` is the number of the scan's file that holds the row."""


@dataclass(frozen=True)
class Decided:
    """Decisions on one scan."""

    number: int
    threshold: Threshold
    num_scored: int
    num_anomalies: int


@dataclass(frozen=True)
class ScanRoot:
    """Names inside a folder of scans."""

    uri: str

    def scan(self, number: int) -> str:
        return join(self.uri, "scans", f"{number:06d}")

    @property
    def threshold(self) -> str:
        return join(self.uri, "threshold.json")

    def decisions(self, number: int) -> str:
        return join(self.uri, "decisions", part_name(number))

    def calibration(self, sha256: str) -> str:
        return join(self.uri, "calibrations", f"{sha256}.json")

    def drift(self, number: int) -> str:
        return join(self.uri, "drift", f"{number:06d}.json")

    @property
    def alerts(self) -> str:
        """What was told of."""
        return join(self.uri, "_veedor", "alerts.json")


def scan_calibration(root: ScanRoot, number: int, store: Store) -> CalibrationFile:
    """The calibration that a scan was made with."""
    record = read_job(RunFolder(root.scan(number)), store)
    if record is None:
        raise SpecError(f"{root.scan(number)} is no scan: its _veedor/job.json is gone")
    uri = root.calibration(record.model["digests"]["calibration"])
    return decode_calibration(store.read(uri), name=uri)


def decide(root: ScanRoot, number: int, store: Store) -> Decided:
    """Write the decisions on a scan, at the rate that was asked for last, or else its calibration's.

    Memory holds one of the scan's files, and what is written, compressed.
    """
    threshold = scan_calibration(root, number, store).threshold(_asked_fpr(root, store))
    folder, buffer = RunFolder(root.scan(number)), io.BytesIO()
    scored = anomalies = 0
    with pq.ParquetWriter(buffer, DECISION_SCHEMA, compression="zstd") as writer:
        for file in sorted(published_numbers(folder.data, store)):
            rows = read_file(folder, store, file, COLUMNS)
            rows = rows.filter(pc.equal(rows.column("status"), "ok")).drop_columns(["status"])
            anomalous = rows.column("anomaly_raw").to_numpy() > threshold.raw
            rows = rows.append_column("is_anomaly", pa.array(anomalous, pa.bool_()))
            for name, value in (("scan", number), ("part", file)):
                rows = rows.append_column(name, pa.array(np.full(rows.num_rows, value, np.int32)))
            writer.write_table(rows.cast(DECISION_SCHEMA))
            scored += rows.num_rows
            anomalies += int(anomalous.sum())
    store.put(root.decisions(number), buffer.getvalue())
    return Decided(number, threshold, scored, anomalies)


def decide_again(root_uri: str, fpr: float, *, access: Access) -> list[Decided]:
    """Change the rate of all scans of a folder, past and to come; their scores stay.

    Raises:
        SpecError: for a rate that is none, or a folder without scans.
    """
    if not 0 < fpr < 1:
        raise SpecError(f"--fpr {fpr} is no rate: give a number above 0 and below 1")
    root = ScanRoot(resolve_location(root_uri).rstrip("/"))
    store = open_store(root.uri, access)
    ledger = Ledger(root.uri, store)
    if not ledger.last:
        raise SpecError(f"{root.uri} holds no finished scan: name the --out of veedor scan")
    store.put(root.threshold, json.dumps({"fpr": fpr}).encode())
    return [decide(root, number, store) for number in range(1, ledger.last + 1)]


def iter_decisions(root: ScanRoot, number: int, store: Store) -> Iterator[pa.Table]:
    """The decisions on a scan, some rows at a time."""
    file = pq.ParquetFile(pa.BufferReader(store.read(root.decisions(number))))
    for group in range(file.num_row_groups):
        yield file.read_row_group(group)


def highest(
    before: list[dict[str, Any]], decisions: pa.Table, *, anomalous: bool, count: int
) -> list[dict[str, Any]]:
    """The `count` rows of the highest scores among those before and these, of what was decided so."""
    mine = decisions.filter(pc.equal(decisions.column("is_anomaly"), anomalous))
    best = mine.sort_by([("anomaly_raw", "descending"), ("uri", "ascending")]).slice(0, count).to_pylist()
    return heapq.nsmallest(count, [*before, *best], key=lambda row: (-row["anomaly_raw"], row["uri"]))


def _asked_fpr(root: ScanRoot, store: Store) -> float | None:
    if not store.exists(root.threshold):
        return None
    return float(json.loads(store.read(root.threshold))["fpr"])
