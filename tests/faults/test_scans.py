"""Scans of a bucket that changes, and scans that are killed: each version is scored exactly once."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.calibrate import run_calibrate
from jobs.ledger import Ledger
from jobs.progress import SilentListener
from jobs.scan import run_scan
from jobs.scan_spec import CalibrateSpec, ScanSpec
from jobs.sink import decode_part
from jobs.storage import join, open_store
from tests.faults.conftest import ToyJob
from tests.faults.numbered import Harm
from tests.faults.record import full, record
from tests.plates import plate, write_model, write_plates
from tests.s3_files import client, new_bucket, upload
from tests.s3_servers import S3Server

SEED = 11
RESOURCES = {"actors": 1, "batch_size": 8}
silent = SilentListener()


def calibrated(folder: Path) -> Path:
    """A model with random weights, calibrated."""
    model = write_model(folder / "model")
    normal = write_plates(folder / "normal", 40, seed=500)
    content = {
        "source": {"uri": str(normal)},
        "model": {"name": f"{model}/"},
        "resources": RESOURCES,
        "target_fpr": 0.1,
        "sink": {"uri": str(model)},
    }
    run_calibrate(CalibrateSpec.model_validate(content), listener=silent)
    return model


def content_of(model: Path, source: str, out: str) -> dict[str, Any]:
    return {
        "job": "scan",
        "source": {"uri": source},
        "model": {"name": f"{model}/"},
        "resources": RESOURCES,
        "sink": {"uri": out, "images_per_unit": 4},
    }


def scanned_rows(root: str) -> list[dict[str, Any]]:
    """The rows of all successful scans."""
    store = open_store(root)
    found: list[dict[str, Any]] = []
    for number in range(1, Ledger(root, store).last + 1):
        data = join(root, "scans", f"{number:06d}", "data")
        for name in store.list_names(data):
            found += decode_part(store.read(join(data, name))).to_pylist()
    return found


def test_each_version_of_each_object_is_scored_exactly_once(
    ray_cluster: None,  # noqa: ARG001
    tmp_path: Path,
    s3_environment: S3Server,
) -> None:
    """Between scans objects come late, are overwritten and deleted."""
    model, bucket, dice = calibrated(tmp_path), new_bucket(s3_environment), random.Random(SEED)
    s3, live, offered = client(s3_environment), {}, Counter[tuple[str, str]]()
    content = content_of(model, f"s3://{bucket}/in/", f"s3://{bucket}/scans")
    spec = ScanSpec.model_validate({**content, "storage": {"endpoint_url": s3_environment.url}})
    num_scans = 30 if full() else 5
    seed = 0
    for number in range(num_scans):
        changed: dict[str, bytes] = {}
        for _ in range(dice.randrange(7) if number else 8):
            seed += 1
            known = sorted(live)
            again = known and dice.random() < 0.4
            # Late objects sort before and between those that were seen.
            changed[dice.choice(known) if again else f"in/{dice.randrange(10**6):06d}.png"] = plate(seed)
        upload(s3_environment, bucket, changed)
        for key in changed:
            live[key] = s3.head_object(Bucket=bucket, Key=key)["ETag"].strip('"')
            offered[f"s3://{bucket}/{key}", live[key]] += 1
        for key in [key for key in sorted(live) if key not in changed and dice.random() < 0.1]:
            s3.delete_object(Bucket=bucket, Key=key)
            del live[key]
        run_scan(spec, listener=silent)
    rows = scanned_rows(spec.sink.uri)
    scored = Counter((row["uri"], row["etag"].strip('"')) for row in rows)
    wrong = [key for key in offered.keys() | scored.keys() if scored[key] != 1]
    record(
        "scans of a changing bucket",
        attack="late, overwritten and deleted objects between scans",
        trials=num_scans,
        differences=len(wrong),
        seed=SEED,
        versions=len(offered),
    )
    assert wrong == []
    assert {row["status"] for row in rows} == {"ok"}


@dataclass
class ScanJob(ToyJob):
    """A scan in place of the toy detector."""

    trained: Path = Path()

    def content(self, out: str) -> dict[str, Any]:
        return content_of(self.trained, f"{self.root}/in/", out)


def state_of(root: str) -> tuple[set[bytes], list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Ledger, rows and decisions of a scan folder, without what its own name decides."""
    keys: set[bytes] = set()
    for file in Path(root, "_veedor", "ledger").glob("scan-*.parquet"):
        keys |= set(pq.read_table(file).column("key").to_pylist())
    rows = [
        tuple(value if not isinstance(value, list) else tuple(value) for value in row.values())
        for row in scanned_rows(root)
    ]
    parts = [pq.read_table(file) for file in sorted(Path(root, "decisions").glob("*.parquet"))]
    decisions = [tuple(row.values()) for row in pa.concat_tables(parts).to_pylist()] if parts else []
    return keys, sorted(rows, key=str), sorted(decisions, key=str)


def test_a_scan_that_is_killed_and_rerun_leaves_the_same_ledger_and_rows(
    address: str, tmp_path: Path
) -> None:
    model = calibrated(tmp_path)
    write_plates(tmp_path / "in", 24)
    (tmp_path / "in" / "bad.png").write_bytes(b"no image")
    job = ScanJob(str(tmp_path), {}, tmp_path, trained=model)
    out = job.new_out()
    driver = job.start(out, address=address)
    assert driver.wait(240).code == 0
    expected, num_calls = state_of(out), len(driver.book.calls)
    dice = random.Random(SEED)
    count = 20 if full() else 3
    moments = [
        Harm(number, dice.choice(["before", "after"]))
        for number in sorted(dice.sample(range(1, num_calls + 1), min(count, num_calls)))
    ]
    wrong, killed = [], 0
    for harm in moments:
        out = job.new_out()
        ending = job.run(out, address=address, harm=harm)
        killed += ending.code < 0
        rerun = job.run(out, address=address)
        if rerun.code != 0:
            wrong.append(f"{harm}: the rerun ended with {rerun.code}: {rerun.output[-1500:]}")
        elif state_of(out) != expected:
            wrong.append(f"{harm}: another state")
    record(
        "scans, killed",
        attack="driver killed just before or after a storage call",
        trials=len(moments),
        differences=len(wrong),
        failures=killed,
        rerun="same ledger, rows and decisions" if not wrong else "differs",
        seed=SEED,
        calls_of_a_scan=num_calls,
    )
    assert wrong == []
    assert killed >= len(moments) - 1
