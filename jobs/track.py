"""The track job: identities for the detections of videos, read from Parquet in frame order.

Its units are those of the annotate run that it reads, rows and all; what it adds to each detection is the
track. A video is one task, whatever the number of its units; units of images are handed on as they are.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from cvcore.errors import SpecError
from jobs.outcome import RunResult, is_over_limit, refuse_without_boxes
from jobs.plan import Plan, make_job_id
from jobs.prepare import PREFLIGHT_ATTEMPTS, code_version, find_finished
from jobs.progress import Listener
from jobs.purpose import to_detect
from jobs.run_folder import JobRecord, RunFolder, check_same_job, load_plan, read_job
from jobs.run_job import run_job
from jobs.sink import remove_parts
from jobs.storage import open_store
from jobs.track_spec import TrackSpec
from jobs.track_table import remove_track_parts


@dataclass(frozen=True)
class Detected:
    """The annotate run that is tracked: where it is, its job and its plan."""

    folder: RunFolder
    record: JobRecord
    plan: Plan


def run_track(
    spec: TrackSpec, *, listener: Listener, address: str | None = None, verbose: bool = False
) -> RunResult:
    """Detect where that is asked for, then track, or finish doing so, or find it finished.

    Raises:
        SpecError, ModelError, StorageError: before any work, when it cannot be done as asked.
        JobFailed: when it stopped on the way.
        KeyboardInterrupt: what is published stays.
    """
    started = time.monotonic()
    manifest = _find_finished(spec)
    if manifest is not None:
        over_limit = is_over_limit(spec.limits, manifest)
        return RunResult(spec.sink.uri, "already finished", manifest, over_limit=over_limit)
    detect = spec.detect_spec()
    if detect is None:
        read_detected(spec)  # what is wrong with it is said before anything is started
    with ExitStack() as sessions:
        if detect is not None:
            run_job(
                detect,
                to_detect(detect),
                listener=listener,
                address=address,
                verbose=verbose,
                sessions=sessions,
            )
        detected = read_detected(spec)
        # Here, so that a finished job answers without loading Ray.
        from jobs.ray_session import ray_session
        from jobs.track_run import track

        session = sessions.enter_context(ray_session(address=address, verbose=verbose))

        return track(spec, detected, listener=listener, started=started, num_cpus=session.shape.num_cpus)


def read_detected(spec: TrackSpec) -> Detected:
    """The finished annotate run that a spec names; `SpecError` for anything else."""
    folder = RunFolder(spec.detections_uri)
    store = open_store(folder.uri, spec.storage.access(attempts=PREFLIGHT_ATTEMPTS))
    record = read_job(folder, store)
    if record is None:
        raise SpecError(f"{folder.uri} is no run: name the --out of an annotate job as detections")
    if record.job == "track":
        raise SpecError(f"{folder.uri} is a track run: name the run that it tracked, often its detections/")
    if not store.exists(folder.success):
        raise SpecError(f"the run {folder.uri} is not finished: run its command again, then track it")
    refuse_without_boxes(json.loads(store.read(folder.success))["counts"], folder.uri)
    plan = load_plan(folder, store, record)
    if plan.num_image_units == plan.num_units:
        raise SpecError(f"{folder.uri} holds images alone: there is nothing to track without videos")
    return Detected(folder, record, plan)


def track_record(spec: TrackSpec, detected: Detected) -> JobRecord:
    """The job that tracking a run is."""
    before = detected.record
    model = before.model | {"digests": before.model["digests"] | {"detections": before.job_id}}
    job_id = make_job_id(
        identity=spec.identity(),
        inputs_digest=detected.plan.inputs.digest,
        model_digests=model["digests"],
        code_version=code_version(),
    )
    return replace(
        before,
        job="track",
        job_id=job_id,
        identity=spec.identity(),
        model=model,
        code_version=code_version(),
        spec=spec.model_dump(mode="json"),
    )


def _find_finished(spec: TrackSpec) -> dict[str, Any] | None:
    folder = RunFolder(spec.sink.uri)
    store = open_store(folder.uri, spec.storage.access(attempts=PREFLIGHT_ATTEMPTS))
    standing = read_job(folder, store)
    if standing is None:
        return None
    if standing.identity != spec.identity():  # said before anything is detected
        check_same(standing, replace(standing, identity=spec.identity(), spec=spec.model_dump(mode="json")))
    detect = spec.detect_spec()
    finished = store.exists(folder.success) and (detect is None or find_finished(detect) is not None)
    if not finished:
        return None
    check_same(standing, track_record(spec, read_detected(spec)))
    remove_parts(folder, store, units_per_file=standing.units_per_file)  # of a driver that ended doing so
    remove_track_parts(folder, store)
    manifest: dict[str, Any] = json.loads(store.read(folder.success))
    return manifest


def check_same(standing: JobRecord, ours: JobRecord) -> None:
    """Refuse to continue another job's folder, saying what differs."""
    check_same_job(
        standing, identity=ours.identity, spec=ours.spec, model=ours.model, code_version=ours.code_version
    )
