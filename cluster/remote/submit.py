"""Submitting a spec: checked here, shipped with its code, started once or joined."""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.locations import AnyJobSpec, rooted
from cluster.remote.code import SPEC_NAME, Code, write_package
from cluster.remote.connect import Cluster, lost_is_failed
from cluster.remote.identity import Attach, Attempt, JobKey, decide, job_key, parse_submission_id
from cluster.remote.places import refuse_local_places
from cvcore.errors import SpecError
from jobs.outcome import JobFailed
from jobs.resources import plan_resources
from jobs.track_spec import TrackSpec

STOP_WAIT_S = 20
AGENT_WAIT_S = 60.0
_ALREADY = "already exists"
_NO_AGENT = "No available agent"


@dataclass(frozen=True)
class Submission:
    """A job on a cluster, and whether this submission started it."""

    submission_id: str
    started: bool
    attempt: Attempt
    sink: str


def submit(
    cluster: Cluster,
    spec: AnyJobSpec,
    code: Code,
    *,
    again: bool = False,
    shared_paths: bool = False,
    verbose: bool = False,
) -> Submission:
    """Start the job, or join the attempt at it that there is.

    Args:
        cluster: to run on.
        spec: of the job.
        code: to ship.
        again: whether to start a job that has succeeded.
        shared_paths: whether the cluster's nodes see this machine's paths.
        verbose: whether its log is to hold what the workers say.

    Raises:
        SpecError: if the spec cannot be run there; nothing was sent.
        JobFailed: if the job server fails.
    """
    spec = rooted(spec)
    if cluster.local is None and not shared_paths:
        refuse_local_places(spec, url=cluster.url)
    key = job_key(spec, job=spec.job, code_version=code.version)
    while True:
        step = decide(key.job, attempts_of(cluster, key), again=again)
        if isinstance(step, Attach):
            return Submission(key.submission_id(step.attempt.number), False, step.attempt, spec.sink.uri)
        _refuse_what_does_not_fit(cluster, spec)
        submission_id = key.submission_id(step.number)
        if _send(cluster, spec, code, submission_id, verbose=verbose):
            return Submission(submission_id, True, Attempt(step.number, "PENDING"), spec.sink.uri)


def attempts_of(cluster: Cluster, key: JobKey) -> list[Attempt]:
    """What the cluster remembers of a job."""
    with lost_is_failed(cluster.url):
        jobs = cluster.client.list_jobs()
    found = []
    for job in jobs:
        known = parse_submission_id(job.submission_id or "")
        if known is not None and known[0] == key:
            found.append(Attempt(known[1], job.status.value))
    return found


def entrypoint(sha256: str, *, verbose: bool) -> str:
    """The command that Ray hands to a shell and writes into the job's log: names and a digest alone."""
    words = ["python", "-m", "cluster.remote.driver", SPEC_NAME, "--sha256", sha256]
    return "exec " + shlex.join([*words, *(["--verbose"] if verbose else [])])


def _refuse_what_does_not_fit(cluster: Cluster, spec: AnyJobSpec) -> None:
    """The same check as the driver's, before anything is sent."""
    if isinstance(spec, TrackSpec) and spec.source is None:
        return
    shape = cluster.shape()
    if not shape.nodes:
        raise SpecError(f"the cluster at {cluster.url} has no node with CPUs: add workers")
    plan_resources(spec.resources, shape)


def _send(cluster: Cluster, spec: AnyJobSpec, code: Code, submission_id: str, *, verbose: bool) -> bool:
    """Ship and start; False if another submission was faster."""
    with tempfile.TemporaryDirectory(prefix="veedor-") as folder:
        package = Path(folder) / "package.zip"
        sha256 = write_package(package, code, spec.canonical())
        environment: dict[str, Any] = {
            "working_dir": str(package),
            # Time to note an interruption; the cluster's environment has the secrets, this never.
            "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)},
        }

        def start() -> None:
            with lost_is_failed(cluster.url):
                cluster.client.submit_job(
                    entrypoint=entrypoint(sha256, verbose=verbose),
                    submission_id=submission_id,
                    runtime_env=environment,
                    metadata={"veedor_job": spec.job, "veedor_sink": spec.sink.uri, "veedor_sha256": sha256},
                )

        try:
            when_agents_are_up(start)
        except JobFailed as error:
            if _ALREADY in str(error):
                return False
            raise
    return True


def when_agents_are_up(
    start: Callable[[], None],
    *,
    wait_s: float = AGENT_WAIT_S,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Start a job, again while no node has the agent that starts it: that comes up after the job server."""
    until = clock() + wait_s
    while True:
        try:
            start()
        except JobFailed as error:
            if _NO_AGENT not in str(error) or clock() >= until:
                raise
            sleep(1.0)
        else:
            return
