"""One job from its spec to its manifest: found finished, or prepared, claimed and executed."""

from __future__ import annotations

import time
from contextlib import ExitStack

from jobs.outcome import RunResult, is_over_limit
from jobs.prepare import claim_job, find_finished, prepare
from jobs.progress import Listener
from jobs.purpose import Purpose
from jobs.spec import PipelineSpec


def run_job(
    spec: PipelineSpec,
    purpose: Purpose,
    *,
    listener: Listener,
    address: str | None = None,
    verbose: bool = False,
    sessions: ExitStack | None = None,
) -> RunResult:
    """Run the job, or finish it, or find it finished.

    `sessions` keeps the cluster, if one was needed, until it is closed.

    Raises:
        SpecError, ModelError, StorageError: before any work, when it cannot be done as asked.
        JobFailed: when it stopped on the way.
        KeyboardInterrupt: after noting the interruption; the published units stay.
    """
    started = time.monotonic()
    manifest = find_finished(spec, purpose.digests)
    if manifest is not None:
        return RunResult(
            spec.sink.uri, "already finished", manifest, over_limit=is_over_limit(spec.limits, manifest)
        )
    # Here, so that a finished job answers without loading Ray.
    from jobs.launch import Launch

    with Launch(
        spec.resources, address=address, verbose=verbose, listener=listener, sessions=sessions
    ) as launch:
        prepared = prepare(spec, listener=listener, inspect=launch.inspect, purpose=purpose)
        prepared = claim_job(prepared, listener=listener)
        from jobs.execute import execute

        return execute(prepared, launch.launched, listener=listener, started=started, verbose=verbose)
