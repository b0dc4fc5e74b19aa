"""The scan job: score what no scan before has seen, decide, compare with the calibration, and tell.

<root>/scans/<number>/   one run for each scan, as every job leaves it; see `jobs.run_folder`
<root>/drift/            how far each scan is from its calibration
beside them the files of `jobs.decisions` and `jobs.ledger`
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cvcore.anomaly.drift import Drift, measure_drift
from cvcore.errors import ModelError, SpecError
from jobs.alerts import AlertSettings, send_alerts
from jobs.calibrate import INPUTS
from jobs.calibration import KeptCalibration, read_calibration
from jobs.decisions import Decided, ScanRoot, decide, scan_calibration
from jobs.ledger import Ledger
from jobs.model_facts import ModelFacts
from jobs.outcome import RunResult
from jobs.prepare import PREFLIGHT_ATTEMPTS
from jobs.progress import Listener
from jobs.purpose import NothingNewError, Purpose
from jobs.run_folder import RunFolder, load_plan, new_writer, read_job
from jobs.run_job import run_job
from jobs.run_rows import iter_tables, vectors_of
from jobs.scan_spec import ScanSpec
from jobs.stages.tasks import Task
from jobs.storage import Store, open_store

NO_ALERTS = AlertSettings()
MAX_COMPARED = 20_000
"""Rows that drift is measured of: the first of a scan."""


def run_scan(
    spec: ScanSpec,
    *,
    listener: Listener,
    address: str | None = None,
    verbose: bool = False,
    sessions: ExitStack | None = None,
    alerts: AlertSettings = NO_ALERTS,
) -> RunResult:
    """Finish the scan that was begun before, if one was, and scan what is new since.

    The ledger advances only when a scan's run is finished, so that every version of every object is scored
    exactly once, whatever is killed. The result's manifest has, under `scan`, what was decided.

    Raises:
        SpecError, ModelError, StorageError: before any work, when it cannot be done as asked.
        JobFailed: when a run stopped on the way.
    """
    alerts.check()
    root = ScanRoot(spec.sink.uri)
    preflight = open_store(root.uri, spec.storage.access(attempts=PREFLIGHT_ATTEMPTS))
    store = open_store(root.uri, spec.storage.access())
    calibration = read_calibration(spec.calibration_uri, spec.storage.access())
    with ExitStack() as own:
        while True:
            ledger = Ledger(root.uri, preflight)
            number = ledger.last + 1
            begun = preflight.exists(RunFolder(root.scan(number)).job)
            if begun:
                listener.step(f"Finishing scan {number}, which was begun before")
            try:
                result = run_job(
                    next_scan(spec, ledger),
                    to_score(spec, calibration, ledger),
                    listener=listener,
                    address=address,
                    verbose=verbose,
                    sessions=sessions or own,
                )
            except NothingNewError as error:
                listener.step(str(error))
                return _nothing_new(root, ledger.last, alerts, store)
            except SpecError as error:
                raise SpecError(f"{error}{_how_to_abandon(root, number)}" if begun else str(error)) from error
            decided, drift = _close(root, number, calibration, ledger, store)
            if not begun:
                break
    problems = send_alerts(root, number, alerts, store)
    found = _told(decided, drift, problems)
    return replace(result, uri=root.uri, manifest=result.manifest | {"scan": found})


def _how_to_abandon(root: ScanRoot, number: int) -> str:
    return (
        f" Scan {number} was begun and has to be finished first, as it was begun; or delete "
        f"{root.scan(number)}: the next scan then takes what it would have taken."
    )


def next_scan(spec: ScanSpec, ledger: Ledger) -> ScanSpec:
    """The spec of one scan: its sink is a folder of its own."""
    uri = ScanRoot(spec.sink.uri).scan(ledger.last + 1)
    return spec.model_copy(update={"sink": spec.sink.model_copy(update={"uri": uri})})


def to_score(spec: ScanSpec, calibration: KeptCalibration, ledger: Ledger) -> Purpose:
    """The purpose of a scan: to score what is not in the ledger."""

    def task(facts: ModelFacts) -> Task:
        score = calibration.file.score
        if score not in facts.scores:
            raise ModelError(f"{spec.model.name} does not give the score {score!r}")
        return calibration.file.task(spec.scan.heatmap_score)

    return Purpose(task, {"calibration": calibration.sha256}, calibration.check_model, ledger.unseen)


def _close(
    root: ScanRoot, number: int, calibration: KeptCalibration, ledger: Ledger, store: Store
) -> tuple[Decided, Drift]:
    """What follows a scan's success; repeated, it gives the same."""
    store.create(root.calibration(calibration.sha256), calibration.body, writer=new_writer())
    folder = RunFolder(root.scan(number))
    record = read_job(folder, store)
    assert record is not None, "the scan that was just finished has a record"
    decided = decide(root, number, store)
    drift = scan_drift(root, number, store)
    store.put(root.drift(number), json.dumps(asdict(drift)).encode())
    # Last: what is in the ledger is decided.
    ledger.advance(number, load_plan(folder, store, record).inputs, writer=new_writer())
    return decided, drift


def _nothing_new(root: ScanRoot, last: int, alerts: AlertSettings, store: Store) -> RunResult:
    """A successful scan of nothing: only what was not told before is told."""
    problems = send_alerts(root, last, alerts, store) if last else []
    counts = {"inputs": 0, "ok": 0, "failed": 0, "images": 0, "videos": 0, "anomalies": 0}
    found = {"number": last, "scored": 0, "anomalies": 0, "alert_problems": problems, "drift": []}
    return RunResult(root.uri, "finished", {"counts": counts, "failures": {}, "job": "scan", "scan": found})


def _told(decided: Decided, drift: Drift, problems: list[str]) -> dict[str, Any]:
    return {
        "number": decided.number,
        "scored": decided.num_scored,
        "anomalies": decided.num_anomalies,
        "threshold": decided.threshold.raw,
        "target_fpr": decided.threshold.target_fpr,
        "threshold_warning": decided.threshold.warning(),
        "drift": drift.warnings(),
        "alert_problems": problems,
    }


def scan_drift(root: ScanRoot, number: int, store: Store) -> Drift:
    """How far a finished scan's images are from those of its calibration."""
    reference = scan_calibration(root, number, store).reference()
    parts = []
    rows = 0
    names = ("status", "anomaly_raw", "embedding", *INPUTS)
    for table in iter_tables(RunFolder(root.scan(number)), store, names):
        parts.append(table.filter(pc.equal(table.column("status"), "ok")))
        rows += parts[-1].num_rows
        if rows >= MAX_COMPARED:
            break
    if not rows:
        return Drift(0)
    scores = np.concatenate([part.column("anomaly_raw").to_numpy() for part in parts]).astype(np.float64)
    inputs = {
        name: np.concatenate([part.column(name).to_numpy() for part in parts]).astype(np.float64)
        for name in INPUTS
    }
    latents = vectors_of(pa.concat_tables(parts))
    return measure_drift(reference, scores, inputs, None if latents is None else latents.astype(np.float64))
