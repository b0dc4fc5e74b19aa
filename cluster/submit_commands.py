"""The commands for jobs on a cluster: submit, status, logs, stop, list."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from cluster.exits import EXIT_INTERRUPTED, told
from cluster.options import Code, Insecure, JobServer, Json, SharedPaths, TokenFile, Verbose

if TYPE_CHECKING:
    from cluster.console import Display
    from cluster.remote.connect import Cluster

JobName = Annotated[str, typer.Argument(help="Id of a job, or a part of it that no other has.")]


def submit(
    spec: Annotated[Path, typer.Argument(help="YAML or JSON job spec.")],
    address: JobServer = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show the job until it ends, and exit with its code.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Run a job that has succeeded once more.")] = False,
    code: Code = "tree",
    shared_paths: SharedPaths = False,
    token_file: TokenFile = None,
    insecure: Insecure = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Run a job on a cluster, through Ray's job server.

    The same spec again joins the job that runs. One that failed is continued.
    """
    from cluster.remote.code import find_code
    from cluster.remote.connect import connect
    from cluster.remote.submit import submit as submit_spec
    from cluster.spec_file import read_spec_file
    from jobs.catalog import find_job
    from jobs.spec import validate_spec

    with told(as_json=as_json) as display:
        content = read_spec_file(spec)
        job = validate_spec(content, find_job(content).spec, name=str(spec))
        shipped = find_code(code)
        cluster = connect(address, token_file=token_file, insecure=insecure, say=display.step)
        done = submit_spec(cluster, job, shipped, again=again, shared_paths=shared_paths, verbose=verbose)
        display.step(
            ("Submitted " if done.started else f"Joined ({done.attempt.status.lower()}) ")
            + f"{done.submission_id} at {cluster.url}",
            submission_id=done.submission_id,
            address=cluster.url,
            started=done.started,
            attempt=done.attempt.number,
            sink=done.sink,
        )
        if follow:
            follow_to_end(cluster, done.submission_id, display)
        elif not as_json:
            display.step(how_to_come_back(done.submission_id, cluster.url))


def status(
    job: Annotated[
        str | None, typer.Argument(help="Id of a job, or a part of it; default all that run.")
    ] = None,
    address: JobServer = None,
    token_file: TokenFile = None,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Show a job's progress, rows, speed and end; without a job, the cluster's nodes and what runs."""
    from cluster.remote.connect import connect
    from cluster.remote.listing import cluster_lines, gpu_lines, job_lines, node_use
    from cluster.remote.report import as_json as report_json
    from cluster.remote.report import find_job, list_jobs, read_report

    with told(as_json=as_json) as display:
        cluster = connect(address, token_file=token_file, insecure=insecure, say=_aside)
        if job is not None:
            found = [read_report(cluster, find_job(cluster, job))]
        else:
            active = [report for report in list_jobs(cluster) if report.is_active]
            found = [read_report(cluster, report.submission_id) for report in active]
        nodes = node_use(cluster)
        if as_json:
            content = {"address": cluster.url, "nodes": [asdict(node) for node in nodes]}
            _print(json.dumps({"event": "cluster", **content}))
        elif job is None:
            _print(*cluster_lines(cluster.url, nodes))
        for report in found:
            _print(report_json(report)) if as_json else _print(*job_lines(report, now=datetime.now(UTC)))
        if job is not None and not as_json and found[0].is_active:
            _print(*(f"  {line}" for line in gpu_lines(nodes)))
        if not found and not as_json:
            display.step("No job runs; veedor list shows those that did")


def logs(
    job: JobName,
    address: JobServer = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job ends, and exit with its code.")
    ] = False,
    token_file: TokenFile = None,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Show what a job said; --json gives its events."""
    from cluster.remote.connect import connect, lost_is_failed
    from cluster.remote.follow import show_log
    from cluster.remote.report import find_job

    with told(as_json=as_json) as display:
        cluster = connect(address, token_file=token_file, insecure=insecure, say=_aside)
        submission_id = find_job(cluster, job)
        if follow:
            follow_to_end(cluster, submission_id, display)
        else:
            with lost_is_failed(cluster.url):
                text = cluster.client.get_job_logs(submission_id)
            show_log(text, display)


def stop(
    job: JobName,
    address: JobServer = None,
    token_file: TokenFile = None,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """End a job; what it has published stays, and submitting it again continues it."""
    from cluster.remote.connect import connect, lost_is_failed
    from cluster.remote.follow import wait_for_end
    from cluster.remote.report import find_job
    from cluster.remote.submit import STOP_WAIT_S

    with told(as_json=as_json) as display:
        cluster = connect(address, token_file=token_file, insecure=insecure, say=_aside)
        submission_id = find_job(cluster, job)
        with lost_is_failed(cluster.url):
            was_running = cluster.client.stop_job(submission_id)
        ended = wait_for_end(cluster, submission_id, timeout_s=2 * STOP_WAIT_S)
        text = f"{submission_id} is stopped: submit it again to continue"
        if not was_running or ended.status != "STOPPED":
            text = f"{submission_id} had ended before ({ended.status.lower()}): there is nothing to stop"
        display.step(text, submission_id=submission_id, status=ended.status)


def list_jobs(
    address: JobServer = None,
    all_jobs: Annotated[bool, typer.Option("--all", help="Also what others than veedor submitted.")] = False,
    token_file: TokenFile = None,
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """List a cluster's jobs, the newest first."""
    from cluster.remote.connect import connect
    from cluster.remote.listing import list_lines
    from cluster.remote.report import as_json as report_json
    from cluster.remote.report import list_jobs as list_reports

    with told(as_json=as_json) as display:
        cluster = connect(address, token_file=token_file, insecure=insecure, say=_aside)
        found = list_reports(cluster, all_jobs=all_jobs)
        if as_json:
            _print(*map(report_json, found))
        else:
            _print(*list_lines(found, now=datetime.now(UTC)))
            if not found:
                display.step(f"No job was submitted to {cluster.url} since it came up")


def follow_to_end(cluster: Cluster, submission_id: str, display: Display) -> NoReturn:
    """Show a job until it ends, and exit with its code; an interruption leaves it alone."""
    from cluster.remote.follow import follow

    try:
        ended = follow(cluster, submission_id, display)
    except KeyboardInterrupt as error:
        display.error(f"detached: {submission_id} goes on.\n{how_to_come_back(submission_id, cluster.url)}")
        raise typer.Exit(EXIT_INTERRUPTED) from error
    raise typer.Exit(ended.code)


def how_to_come_back(submission_id: str, url: str) -> str:
    where = f"{submission_id} --address {url}"
    return (
        f"Follow it: veedor logs {where} --follow\n"
        f"Look at it: veedor status {where}\n"
        f"End it: veedor stop {where}"
    )


def _aside(text: str) -> None:
    """Warnings of a command whose output is what was asked for."""
    typer.echo(text, err=True)


def _print(*lines: str) -> None:
    from jobs.visible import visible

    for line in lines:
        typer.echo(visible(line))
