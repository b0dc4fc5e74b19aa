"""`veedor tick`: do what is due, once."""

from __future__ import annotations

import json
import signal
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.exits import EXIT_FAILED, EXIT_INTERRUPTED, interrupt, usage_errors
from cluster.options import (
    Address,
    Code,
    Endpoint,
    Insecure,
    Json,
    Profile,
    Region,
    SharedPaths,
    SubmitTo,
    TokenFile,
    Verbose,
)
from cluster.schedule_commands import StoreOption
from cvcore.errors import SpecError

if TYPE_CHECKING:
    from cluster.console import Display
    from cluster.schedules.runner import Runner
    from cluster.schedules.tick import Tally


def tick(
    store: StoreOption,
    only: Annotated[str | None, typer.Option(help="This schedule alone.")] = None,
    address: Address = None,
    submit: SubmitTo = None,
    code: Code = "tree",
    shared_paths: SharedPaths = False,
    token_file: TokenFile = None,
    insecure: Insecure = False,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Run the scheduled jobs that are due, and record what came of them.

    Stateless, and safe to be started as often and on as many machines as one likes: each tick of a schedule
    is run by one of them. Exits with 1 if a job failed.
    """
    from cluster.console import open_display
    from cluster.schedules.runner import LocalRunner
    from cluster.schedules.submitting import Destination, SubmitRunner
    from cluster.schedules.tick import Ticker
    from jobs.storage import Access, open_store, resolve_location

    signal.signal(signal.SIGTERM, interrupt)
    display = open_display(as_json=as_json)
    try:
        with usage_errors(as_json=as_json):
            root = resolve_location(store)
            opened = open_store(root, Access(profile, endpoint_url, region))
            if submit is not None and address is not None:
                raise SpecError("name one of --submit, a job server, and --address, a cluster to join")
            runner: Runner = LocalRunner(address=address, as_json=as_json, verbose=verbose)
            if submit is not None:
                to = Destination(submit, code, shared_paths, token_file, insecure)
                runner = SubmitRunner(to, as_json=as_json, verbose=verbose)
            tally = Ticker(root, opened, runner, listener=display).tick(only)
    except KeyboardInterrupt as error:
        display.error("interrupted: what was claimed is taken over by a later tick")
        raise typer.Exit(EXIT_INTERRUPTED) from error
    _say(tally, display, as_json=as_json)
    if tally.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if tally.failed:
        raise typer.Exit(EXIT_FAILED)


def _say(tally: Tally, display: Display, *, as_json: bool) -> None:
    """What the tick came to; of one that had nothing to do, when something is due next."""
    for name, problem in tally.problems.items():
        display.error(f"{name}: {problem}")
    if as_json:
        typer.echo(json.dumps(_content(tally)))
        return
    if not tally.records and not tally.retried and not tally.interrupted:
        display.step(f"Nothing was run{_next_text(tally.upcoming)}")


def _content(tally: Tally) -> dict[str, object]:
    return {
        "event": "tick",
        "runs": [{"schedule": name, **record.model_dump(mode="json")} for name, record in tally.records],
        "to_retry": tally.retried,
        "problems": tally.problems,
        "next": {name: instant.isoformat() for name, instant in tally.upcoming.items()},
        "interrupted": tally.interrupted,
    }


def _next_text(upcoming: dict[str, datetime]) -> str:
    if not upcoming:
        return ""
    name, instant = min(upcoming.items(), key=lambda item: item[1])
    return f"; next is {name}, due {instant:%Y-%m-%d %H:%M} UTC"
