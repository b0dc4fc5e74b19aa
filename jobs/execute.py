"""Running a prepared job on a cluster, and recording what the attempt measured."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any

import ray

from jobs.board import Watch
from jobs.finish import FileMerger, finish_job
from jobs.launch import Launched
from jobs.outcome import JobFailed, Outcome, RunResult, is_over_limit
from jobs.pipeline import Pipeline
from jobs.plan import Plan
from jobs.prepare import Prepared
from jobs.progress import Listener, Snapshot
from jobs.quarantine import run_surviving
from jobs.resources import count_store_users
from jobs.sink import PartSummary, part_metadata, pending_units
from jobs.stages.decode import DecodeStage, Quarantine
from jobs.stages.publish import PublishSettings
from jobs.stages.settings import InferSettings
from jobs.stages.tasks import SegmentTask
from jobs.storage import Access, StorageError, join, open_store
from jobs.telemetry import Telemetry

PROGRESS_INTERVAL_S = 0.5
_OUR_ERROR = re.compile(r"^(?:jobs|cvcore)\.[\w.]+: (.+)$", re.MULTILINE)
_CHAINED = "The above exception was the direct cause of the following exception"


def execute(
    prepared: Prepared,
    launched: Launched,
    *,
    listener: Listener,
    started: float,
    verbose: bool,
) -> RunResult:
    """Run the pending units, finish the job, and leave a record of the attempt.

    Raises:
        JobFailed: when a stage failed for good.
        KeyboardInterrupt: after noting the interruption.
    """
    plan, folder, store, spec = prepared.plan, prepared.folder, prepared.store, prepared.spec
    resources, tally = launched.resources, launched.tally
    pending = pending_units(plan, folder, store)
    before = plan.num_inputs - sum(plan.unit_size(unit) for unit in pending)
    if before:
        listener.step(
            f"{before:,} of {plan.num_inputs:,} {plan.noun} were published before; {len(pending)} units left"
        )
    access = spec.storage.access(processes=count_store_users(resources, launched.session.shape))
    store = open_store(folder.uri, access)
    plan_ref = ray.put(plan)
    merger = FileMerger(
        folder,
        plan,
        plan_ref,
        prepared.record,
        access,
        prepared.writer,
        published=set(range(plan.num_units)) - set(pending),
        num_cpus=resources.publish_cpus,
    )
    clock = _Clock(started)
    outcome: Outcome = "failed"
    done: dict[int, PartSummary] = {}
    try:
        if pending:
            pipeline = _pipeline(prepared, pending, launched, plan_ref, access, verbose=verbose)
            watch = Watch(tally, total=plan.num_inputs, before=before, actors=pipeline.num_actors)
            with _progress(watch, listener, pipeline.infer.tally.telemetry):
                surviving = run_surviving(pipeline, listener=listener)
                for summary in surviving:
                    clock.published(summary.rows)
                    done[summary.number] = summary
                    merger.add(summary.number)
        merged = merger.finish(store)
        known = merged if plan.units_per_file > 1 else done
        manifest = finish_job(
            folder, store, plan, prepared.record, known, writer=prepared.writer, listener=listener
        )
        outcome = "finished"
    except KeyboardInterrupt:
        outcome = "interrupted"
        raise
    except (ray.exceptions.RayError, StorageError) as error:
        raise JobFailed(failure_text(error, plan, published=before + clock.rows)) from error
    finally:
        try:
            _record_run(prepared, launched, clock, outcome=outcome, units=len(done))
        except StorageError as error:
            listener.step(f"What this run measured could not be kept: {error}")
    return RunResult(
        folder.uri,
        outcome,
        manifest,
        wall_s=clock.wall_s,
        startup_s=clock.startup_s,
        images_per_s=clock.images_per_s,
        over_limit=is_over_limit(spec.limits, manifest),
    )


def _pipeline(
    prepared: Prepared,
    units: list[int],
    launched: Launched,
    plan_ref: Any,
    access: Access,
    *,
    verbose: bool,
) -> Pipeline:
    spec, record = prepared.spec, prepared.record
    resources = launched.resources
    tally = replace(launched.tally, telemetry=Telemetry.of(record.job, record.job_id))
    bounds = spec.limits.bounds()
    quarantine = Quarantine(prepared.folder.quarantine, access, prepared.writer, bounds)
    task = prepared.purpose.task(prepared.facts)
    return Pipeline(
        plan=prepared.plan,
        units=units,
        resources=resources,
        decode=DecodeStage(
            plan_ref,
            access.within(spec.source.uri),
            prepared.facts.input_spec,
            spec.limits.decode_limits(),
            tally,
            quarantine,
            sizes_alone=isinstance(task, SegmentTask) and task.tile_px is not None,
        ),
        model=launched.model,
        infer=InferSettings(
            task=task,
            precision=spec.precision,
            batch_size=spec.resources.batch_size,
            threads=resources.threads_per_actor,
            on_gpu=resources.gpus_per_actor > 0,
            tuning_uri=prepared.folder.tuning(record.job_id),
            access=access,
            writer=prepared.writer,
            tally=tally,
            bounds=bounds,
        ),
        publish=PublishSettings(
            prepared.folder, record.units_per_file, part_metadata(record), access, prepared.writer, tally
        ),
        max_bytes_in_flight=spec.resources.max_bytes_in_flight,
        verbose=verbose,
    )


class _Clock:
    """Times a run: start-up until the first unit is published, and the steady rate after it."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._first: tuple[float, int] | None = None
        self._last = started
        self.rows = 0

    def published(self, rows: int) -> None:
        self._last = time.monotonic()
        self.rows += rows
        if self._first is None:
            self._first = (self._last, self.rows)

    @property
    def wall_s(self) -> float:
        return time.monotonic() - self._started

    @property
    def startup_s(self) -> float:
        return (self._first[0] if self._first else time.monotonic()) - self._started

    @property
    def images_per_s(self) -> float:
        """Images a second between the first and the last publication; of the whole run if there was one."""
        if self._first is None:
            return 0.0
        if self.rows > self._first[1]:
            return (self.rows - self._first[1]) / (self._last - self._first[0])
        return self.rows / (self._last - self._started)


@contextmanager
def _progress(watch: Watch, listener: Listener, telemetry: Telemetry | None) -> Iterator[None]:
    """Tell of the run's state from a thread of its own, and once more at the end."""
    stop = Event()

    def tell(snapshot: Snapshot) -> None:
        listener.progress(snapshot)
        if telemetry is not None:
            telemetry.progress(snapshot)

    def keep_telling() -> None:
        while not stop.wait(PROGRESS_INTERVAL_S):
            tell(watch.snapshot())

    thread = Thread(target=keep_telling, name="veedor-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        tell(watch.last_snapshot())


def failure_text(error: Exception, plan: Plan, *, published: int) -> str:
    """What a user is told when a stage failed for good."""
    return (
        f"the job stopped: {_reason(error)}\n"
        f"{published:,} of {plan.num_inputs:,} {plan.noun} are published and safe. "
        "Run the same command again to continue; -v shows what the workers said."
    )


def _reason(error: Exception) -> str:
    """What went wrong in a worker: Ray hands it on as a traceback's text, in advice of its own."""
    if ours := _OUR_ERROR.search(str(error)):
        return ours.group(1)
    first = str(error).split(_CHAINED)[0].strip() or type(error).__name__
    return first.splitlines()[-1] if "Traceback" in first else first.splitlines()[0]


def _record_run(
    prepared: Prepared,
    launched: Launched,
    clock: _Clock,
    *,
    outcome: Outcome,
    units: int,
) -> None:
    """Leave what this attempt measured beside the results; readers of `data/` never see it."""
    wall_s = clock.wall_s
    facts = {
        "writer": prepared.writer,
        "started": datetime.fromtimestamp(time.time() - wall_s, UTC).isoformat(timespec="seconds"),
        "outcome": outcome,
        "wall_s": round(wall_s, 3),
        "startup_s": round(clock.startup_s, 3),
        "images_per_s": round(clock.images_per_s, 3),
        "inputs_done": clock.rows,
        "units_done": units,
        "hardware": launched.session.hardware,
        "batch_size": prepared.spec.resources.batch_size,
        "precision": prepared.spec.precision,
        **_tuning(prepared),
        **asdict(launched.resources),
    }
    uri = join(prepared.folder.runs, f"{prepared.writer}.json")
    prepared.store.put(uri, json.dumps(facts, indent=1).encode())


def _tuning(prepared: Prepared) -> dict[str, Any]:
    """What the actors measured and pinned, where they did."""
    uri = prepared.folder.tuning(prepared.record.job_id)
    if not prepared.store.exists(uri):
        return {}
    pinned = json.loads(prepared.store.read(uri))
    return {key: pinned[key] for key in ("batch_size", "precision")}
