"""The annotate job: every image below a location through a detector, into Parquet."""

from __future__ import annotations

import time

from jobs.outcome import RunResult, is_over_limit
from jobs.prepare import claim_job, find_finished, prepare
from jobs.progress import Listener
from jobs.spec import AnnotateSpec


def run_annotate(
    spec: AnnotateSpec, *, listener: Listener, address: str | None = None, verbose: bool = False
) -> RunResult:
    """Run the job, or finish it, or find it finished.

    Raises:
        SpecError, ModelError, StorageError: before any work, when it cannot be done as asked.
        JobFailed: when it stopped on the way.
        KeyboardInterrupt: after noting the interruption; the published units stay.
    """
    started = time.monotonic()
    manifest = find_finished(spec)
    if manifest is not None:
        return RunResult(
            spec.sink.uri, "already finished", manifest, over_limit=is_over_limit(spec, manifest)
        )
    # Here, so that a finished job answers without loading Ray.
    from jobs.execute import execute
    from jobs.ray_session import embedded, ray_session
    from jobs.resources import plan_resources

    prepared = prepare(spec, listener=listener)
    listener.step(f"Starting {'an embedded Ray' if embedded(address) else 'on the Ray cluster'}")
    with ray_session(address=address, verbose=verbose) as session:
        resources = plan_resources(spec.resources, session.shape)
        prepared = claim_job(prepared, listener=listener)
        return execute(prepared, session, resources, listener=listener, started=started, verbose=verbose)
