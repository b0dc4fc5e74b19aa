"""Running a track job: a task a video, and the end of the job."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import ray

from jobs.execute import failure_text
from jobs.finish import FileMerger, finish_job
from jobs.outcome import JobFailed, RunResult, is_over_limit
from jobs.plan import Plan
from jobs.prepare import claim_folder
from jobs.progress import Listener
from jobs.run_folder import RunFolder, new_writer
from jobs.sink import PartSummary, part_metadata, pending_units
from jobs.stages.associate import TrackTask, track_parts_of, track_video
from jobs.storage import StorageError, open_store
from jobs.track import Detected, check_same, track_record
from jobs.track_spec import TrackSpec
from jobs.track_table import remove_track_parts, write_track_table

TRACK_CPUS = 1.0
MERGE_CPUS = 0.25
TELL_EVERY_S = 5.0


def track(
    spec: TrackSpec, detected: Detected, *, listener: Listener, started: float, num_cpus: float
) -> RunResult:
    """Claim the folder, track what is not tracked yet, and finish the job.

    Raises:
        SpecError: if the folder belongs to another job.
        JobFailed: when a task failed for good.
    """
    slots = max(1, int(num_cpus / TRACK_CPUS))
    folder, record = RunFolder(spec.sink.uri), track_record(spec, detected)
    plan = replace(detected.plan, job_id=record.job_id)
    access = spec.storage.access(processes=1 + slots)
    store = open_store(folder.uri, access)
    writer = new_writer()
    standing = claim_folder(
        folder, store, record, plan.inputs, writer=writer, single_writer=spec.sink.single_writer
    )
    check_same(standing, record)
    pending = set(pending_units(plan, folder, store))
    before = plan.num_inputs - sum(plan.unit_size(unit) for unit in pending)
    plan_ref = ray.put(plan)
    merger = FileMerger(
        folder,
        plan,
        plan_ref,
        record,
        access,
        writer,
        set(range(plan.num_units)) - pending,
        num_cpus=MERGE_CPUS,
    )
    tasks = [
        TrackTask(detected.folder, folder, units, is_video, spec.track, part_metadata(record), access, writer)
        for is_video, units in tasks_of(plan)
        if pending.intersection(units) or (is_video and not store.exists(track_parts_of(folder, units)))
    ]
    num_videos = sum(task.is_video for task in tasks)
    listener.step(f"Tracking {num_videos:,} video{'s' * (num_videos != 1)} with {spec.track.tracker}")
    done: dict[int, PartSummary] = {}
    rows = 0
    first_s: float | None = None
    try:
        with _telling(listener, total=len(tasks)) as tell:
            for summaries in _run(tasks, plan_ref, slots=slots):
                first_s = first_s or time.monotonic()
                tell()
                for summary in summaries:
                    done[summary.number] = summary
                    rows += summary.rows if summary.number in pending else 0
                    merger.add(summary.number)
        merged = merger.finish(store)
        counts = write_track_table(folder, store, writer=writer)
        known = merged if plan.units_per_file > 1 else done
        manifest = finish_job(
            folder, store, plan, record, known, writer=writer, listener=listener, more=counts
        )
        remove_track_parts(folder, store)
    except (ray.exceptions.RayError, StorageError) as error:
        raise JobFailed(failure_text(error, plan, published=before + rows)) from error
    wall_s = time.monotonic() - started
    return RunResult(
        folder.uri,
        "finished",
        manifest,
        wall_s=wall_s,
        startup_s=(first_s or time.monotonic()) - started,
        images_per_s=rows / wall_s,
        over_limit=is_over_limit(spec.limits, manifest),
    )


def tasks_of(plan: Plan) -> Iterator[tuple[bool, tuple[int, ...]]]:
    """Units that belong to one task, in order: all of a video (True), or one of images (False)."""
    for unit in range(plan.num_image_units):
        yield False, (unit,)
    units: list[int] = []
    before: tuple[str, str] | None = None
    for unit, video in enumerate(plan.inputs.segment_videos(), plan.num_image_units):
        if units and video != before:
            yield True, tuple(units)
            units = []
        units.append(unit)
        before = video
    if units:
        yield True, tuple(units)


def _run(tasks: Iterable[TrackTask], plan_ref: Any, *, slots: int) -> Iterator[list[PartSummary]]:
    """Run tasks, a few more than fit at once, and yield what each published."""
    remote = ray.remote(num_cpus=TRACK_CPUS, max_retries=2)(track_video)
    waiting: list[Any] = []
    for task in tasks:
        waiting.append(remote.remote(task, plan_ref))
        if len(waiting) >= 2 * slots:
            (ready,), waiting = ray.wait(waiting)
            yield [PartSummary(**each) for each in ray.get(ready)]
    while waiting:
        (ready,), waiting = ray.wait(waiting)
        yield [PartSummary(**each) for each in ray.get(ready)]


@contextlib.contextmanager
def _telling(listener: Listener, *, total: int) -> Iterator[Callable[[], None]]:
    """A function to call after each task: says now and then how many are done."""
    done, told_s = 0, time.monotonic()

    def tell() -> None:
        nonlocal done, told_s
        done += 1
        if time.monotonic() - told_s > TELL_EVERY_S or done == total:
            told_s = time.monotonic()
            listener.step(f"Tracked {done:,} of {total:,}", done=done, total=total)

    yield tell
