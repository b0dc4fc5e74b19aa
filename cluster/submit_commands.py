"""The commands for jobs on a cluster: submit, follow, stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from cluster.exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from cluster.options import Insecure, JobServer, Json, TokenFile, Verbose
from cvcore.errors import VeedorError


def submit(
    spec: Annotated[Path, typer.Argument(help="YAML or JSON job spec.")],
    address: JobServer = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show the job until it ends, and exit with its code.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Run a job that has succeeded once more.")] = False,
    code: Annotated[
        str,
        typer.Option(help="What runs there: tree, this veedor; installed, the cluster's own; or a wheel."),
    ] = "tree",
    shared_paths: Annotated[
        bool, typer.Option("--shared-paths", help="Local paths are the same on every node.")
    ] = False,
    token_file: TokenFile = None,
    insecure: Insecure = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Run a job on a cluster, through Ray's job server.

    The same spec again joins the job that runs. One that failed is continued.
    """
    from cluster.console import open_display
    from cluster.remote.code import find_code
    from cluster.remote.connect import connect
    from cluster.remote.submit import submit as submit_spec
    from cluster.spec_file import read_spec_file
    from jobs.catalog import find_job
    from jobs.outcome import JobFailed
    from jobs.spec import validate_spec

    display = open_display(as_json=as_json)
    try:
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
        if not follow:
            if not as_json:
                display.step(_how_to_watch(done.submission_id, cluster.url))
            return
        from cluster.remote.follow import follow as follow_job

        try:
            ended = follow_job(cluster, done.submission_id, display)
        except KeyboardInterrupt as error:
            display.error(
                f"detached: {done.submission_id} goes on.\n{_how_to_watch(done.submission_id, cluster.url)}"
            )
            raise typer.Exit(EXIT_INTERRUPTED) from error
    except JobFailed as error:
        display.error(str(error))
        raise typer.Exit(EXIT_FAILED) from error
    except VeedorError as error:
        display.error(str(error))
        raise typer.Exit(EXIT_USAGE) from error
    finally:
        display.close()
    _exit(ended.code)


def _how_to_watch(submission_id: str, url: str) -> str:
    where = f"{submission_id} --address {url}"
    return f"Watch it: veedor logs {where} --follow\nEnd it:   veedor stop {where}"


def _exit(code: int) -> NoReturn:
    raise typer.Exit(code)
