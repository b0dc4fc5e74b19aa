"""Before any work: check model, source and sink, make or load the plan; then claim the folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from cvcore.errors import SpecError
from cvcore.models import ModelSource
from jobs.model_facts import ModelFacts, model_facts
from jobs.model_files import FetchedModel, fetch_model
from jobs.pinned import PinnedInputs, pin_segments
from jobs.plan import (
    Plan,
    Selection,
    choose_frames_per_unit,
    choose_images_per_unit,
    choose_units_per_file,
    make_job_id,
    select_inputs,
)
from jobs.progress import Listener
from jobs.purpose import NothingNewError, Purpose, to_detect
from jobs.run_folder import (
    JobRecord,
    RunFolder,
    check_same_job,
    claim,
    load_plan,
    new_writer,
    read_job,
)
from jobs.sink import remove_parts
from jobs.spec import PipelineSpec
from jobs.storage import BucketMissing, Store, base_name, is_s3, join, open_store, probe_create_only

PREFLIGHT_ATTEMPTS = 3
FAIL_FAST_S = 0.5


@dataclass(frozen=True)
class Prepared:
    """A job that is ready to run; `claimed` says whether its folder and stored plan are its own yet."""

    spec: PipelineSpec
    folder: RunFolder
    store: Store
    writer: str
    record: JobRecord
    plan: Plan
    model: FetchedModel
    facts: ModelFacts
    purpose: Purpose
    claimed: bool


def find_finished(spec: PipelineSpec, digests: Mapping[str, str] | None = None) -> dict[str, Any] | None:
    """The manifest of this job if its folder says that it is done; needs neither torch nor Ray.

    `digests` are its purpose's.
    """
    access = spec.storage.access(attempts=PREFLIGHT_ATTEMPTS)
    folder, store = RunFolder(spec.sink.uri), open_store(spec.sink.uri, access)
    record = read_job(folder, store)
    if record is None or not store.exists(folder.success):
        return None
    _check_same(record, spec, model_identity(spec, fetch_model(spec.model, access), digests or {}))
    remove_parts(folder, store, units_per_file=record.units_per_file)  # of a driver that ended doing so
    manifest: dict[str, Any] = json.loads(store.read(folder.success))
    return manifest


def prepare(
    spec: PipelineSpec,
    *,
    listener: Listener,
    inspect: Callable[[ModelSource], ModelFacts] = model_facts,
    purpose: Purpose | None = None,
) -> Prepared:
    """Check model, source and sink, and make or load the plan. Nothing is written.

    Args:
        spec: of the job.
        listener: told of what is found.
        inspect: looks at the model, while the source is being listed.
        purpose: what the model is run for; by default, to detect.
    """
    purpose = purpose or to_detect(spec)
    access = spec.storage.access(attempts=PREFLIGHT_ATTEMPTS)
    folder, store = RunFolder(spec.sink.uri), open_store(spec.sink.uri, access)
    writer = new_writer()
    fetched = fetch_model(spec.model, access)
    purpose.admit(fetched.digests)
    identity = model_identity(spec, fetched, purpose.digests)
    standing = read_job(folder, store)
    if standing is None:
        listener.step(f"Listing {spec.source.uri}")
    with ThreadPoolExecutor(1) as pool:
        listing = pool.submit(_list_inputs, spec, purpose) if standing is None else None
        if listing is not None and wait([listing], timeout=FAIL_FAST_S).done:
            listing.result()  # what is wrong with the source is said before anything is started
        facts = inspect(fetched.source)
        purpose.task(facts)  # raises if the model cannot do it
        selection = listing.result() if listing is not None else None
    if standing is not None:
        plan = load_checked_plan(spec, folder, store, standing, identity)
        listener.step(_continuing_text(plan), job_id=standing.job_id)
        return Prepared(spec, folder, store, writer, standing, plan, fetched, facts, purpose, claimed=True)
    assert selection is not None
    record, plan = _plan_job(spec, selection, identity | {"labels": list(facts.labels)}, facts)
    listener.step(
        _planned_text(plan, selection),
        inputs=plan.num_inputs,
        units=plan.num_units,
        job_id=record.job_id,
    )
    return Prepared(spec, folder, store, writer, record, plan, fetched, facts, purpose, claimed=False)


def claim_job(prepared: Prepared, *, listener: Listener) -> Prepared:
    """Store the plan and claim the folder; returns the job that then owns it, whoever claimed it first.

    Storage is retried patiently from here on.

    Raises:
        SpecError: if the store does not honour create-only, or another job was faster.
    """
    # Checking gave up early on a store that does not answer; from here on there is work to lose.
    store = open_store(prepared.folder.uri, prepared.spec.storage.access())
    prepared = replace(prepared, store=store)
    if prepared.claimed:
        return prepared
    folder = prepared.folder
    standing = claim_folder(
        folder,
        store,
        prepared.record,
        prepared.plan.inputs,
        writer=prepared.writer,
        single_writer=prepared.spec.sink.single_writer,
    )
    if standing.job_id == prepared.record.job_id:
        return replace(prepared, claimed=True)
    model = model_identity(prepared.spec, prepared.model, prepared.purpose.digests)
    plan = load_checked_plan(prepared.spec, folder, store, standing, model)
    listener.step(_continuing_text(plan), job_id=standing.job_id)
    return replace(prepared, record=standing, plan=plan, claimed=True)


def claim_folder(
    folder: RunFolder,
    store: Store,
    record: JobRecord,
    inputs: PinnedInputs,
    *,
    writer: str,
    single_writer: bool,
) -> JobRecord:
    """Probe the store, store the plan and claim the folder; returns the job that then owns it.

    Raises:
        SpecError: if the store does not honour create-only.
    """
    if not single_writer and not probe_create_only(join(folder.uri, "_veedor"), store, writer=writer):
        raise SpecError(
            f"the store of {folder.uri} overwrites objects that it was asked only to create, so two drivers "
            "could mix their results (versioned buckets of some servers do this). Use another bucket, or set "
            "sink.single_writer: true and never run this job twice at once."
        )
    return claim(folder, store, record, inputs, writer=writer)


def load_checked_plan(
    spec: PipelineSpec, folder: RunFolder, store: Store, record: JobRecord, model: dict[str, Any]
) -> Plan:
    """The stored plan of the job that owns the folder; `SpecError` if that is another job."""
    _check_same(record, spec, model)
    return load_plan(folder, store, record)


def _continuing_text(plan: Plan) -> str:
    return f"Continuing job {plan.job_id[:12]} with its stored plan of {plan.num_inputs:,} inputs"


def _check_same(record: JobRecord, spec: PipelineSpec, model: dict[str, Any]) -> None:
    check_same_job(
        record,
        identity=spec.identity(),
        spec=spec.model_dump(mode="json"),
        model=model,
        code_version=code_version(),
    )


def model_identity(spec: PipelineSpec, fetched: FetchedModel, digests: Mapping[str, str]) -> dict[str, Any]:
    """What a run records of its model, and of what else decides its rows."""
    return {"name": base_name(spec.model.name), "digests": {**fetched.digests, **digests}}


def code_version() -> str:
    return version("veedor")


def _list_inputs(spec: PipelineSpec, purpose: Purpose) -> Selection:
    source = open_store(spec.source.uri, spec.storage.access(attempts=PREFLIGHT_ATTEMPTS))
    try:
        selection = select_inputs(source.walk(spec.source.uri), spec.source, unseen=purpose.unseen)
    except BucketMissing as error:
        raise SpecError(f"source.uri: {error}") from error
    if purpose.unseen is not None and not selection.inputs.num_rows and not selection.videos:
        raise NothingNewError(f"{spec.source.uri} holds nothing new ({selection.num_seen:,} seen before)")
    if selection.inputs.num_rows == 0 and not selection.videos:
        passed = ", ".join(f"{n} {kind}" for kind, n in sorted(selection.skipped.items()))
        raise SpecError(
            f"source.uri: there is no image or video below {spec.source.uri}"
            + (f" (passed over: {passed}; source.include chooses by name)" if passed else "")
            + ("" if is_s3(spec.source.uri) else "; symbolic links that lead out of it are not followed")
        )
    return selection


def _plan_job(
    spec: PipelineSpec, selection: Selection, model: dict[str, Any], facts: ModelFacts
) -> tuple[JobRecord, Plan]:
    canvas_bytes = facts.input_spec.num_bytes
    inputs = selection.inputs
    per_unit = spec.sink.images_per_unit or choose_images_per_unit(inputs.num_images, canvas_bytes)
    if selection.videos:
        from jobs.plan_videos import plan_videos  # imports FFmpeg

        source = open_store(spec.source.uri, spec.storage.access())
        segments = plan_videos(
            selection.videos,
            source,
            spec.video,
            limits=spec.limits.decode_limits(),
            frames_per_unit=lambda frames: (
                spec.sink.images_per_unit or choose_frames_per_unit(frames, canvas_bytes)
            ),
        )
        inputs = pin_segments(inputs, segments)
    job_id = make_job_id(
        identity=spec.identity(),
        inputs_digest=inputs.digest,
        model_digests=model["digests"],
        code_version=code_version(),
    )
    plan = Plan(job_id, inputs, per_unit, 1)
    plan = replace(plan, units_per_file=spec.sink.units_per_file or choose_units_per_file(plan.num_units))
    record = JobRecord(
        job_id=job_id,
        identity=spec.identity(),
        model=model,
        code_version=code_version(),
        source=spec.source.uri,
        num_inputs=plan.num_inputs,
        job=spec.job,
        num_images=inputs.num_images,
        num_videos=len(selection.videos),
        num_units=plan.num_units,
        images_per_unit=per_unit,
        units_per_file=plan.units_per_file,
        skipped=selection.skipped,
        spec=spec.model_dump(mode="json"),
    )
    return record, plan


def _planned_text(plan: Plan, selection: Selection) -> str:
    text = f"Planned {plan.num_inputs:,} {plan.noun} in {plan.num_units:,} unit{'s' * (plan.num_units > 1)}"
    if selection.videos:
        text += f", of {len(selection.videos):,} video{'s' * (len(selection.videos) > 1)}"
    if selection.skipped:
        passed = ", ".join(f"{n:,} {kind}" for kind, n in sorted(selection.skipped.items()))
        text += f"; passed over {passed}"
    return text
