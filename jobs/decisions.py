"""What is called an anomaly now: decisions on the rows of a folder's scans, which a threshold may change.

<root>/threshold.json                what `veedor threshold` was asked for, last
<root>/decisions/part-<scan>.parquet one row for each input that a scan scored; replaced, never its scores
<root>/calibrations/<sha256>.json    the calibrations that scans were made with
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cvcore.anomaly.calibration import Threshold
from cvcore.errors import SpecError
from jobs.calibration import CalibrationFile, decode_calibration
from jobs.ledger import Ledger
from jobs.run_folder import RunFolder, part_name, read_job
from jobs.run_rows import iter_tables
from jobs.storage import Access, Store, join, open_store, resolve_location

COLUMNS = ("uri", "etag", "frame_index", "status", "anomaly_score", "anomaly_raw")


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
    """Write the decisions on a scan, at the rate that was asked for last, or else its calibration's."""
    threshold = scan_calibration(root, number, store).threshold(_asked_fpr(root, store))
    parts = []
    for table in iter_tables(RunFolder(root.scan(number)), store, COLUMNS):
        scored = table.filter(pc.equal(table.column("status"), "ok")).drop_columns(["status"])
        anomalous = scored.column("anomaly_raw").to_numpy().astype(np.float32) > threshold.raw
        parts.append(scored.append_column("is_anomaly", pa.array(anomalous, pa.bool_())))
    if not parts:
        return Decided(number, threshold, 0, 0)
    decisions = pa.concat_tables(parts)
    scans = pa.array(np.full(decisions.num_rows, number, np.int32))
    buffer = io.BytesIO()
    pq.write_table(decisions.append_column("scan", scans), buffer, compression="zstd")
    store.put(root.decisions(number), buffer.getvalue())
    found = pc.sum(decisions.column("is_anomaly")).as_py() or 0
    return Decided(number, threshold, decisions.num_rows, found)


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


def read_decisions(root: ScanRoot, number: int, store: Store) -> pa.Table | None:
    """The decisions on a scan; None for one without scored rows."""
    uri = root.decisions(number)
    return pq.read_table(pa.BufferReader(store.read(uri))) if store.exists(uri) else None


def _asked_fpr(root: ScanRoot, store: Store) -> float | None:
    if not store.exists(root.threshold):
        return None
    return float(json.loads(store.read(root.threshold))["fpr"])
