"""`veedor schedule`: `add`, `list`, `pause`, `resume`, `remove`, `history`, `backfill`, `serve`."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.exits import usage_errors
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

if TYPE_CHECKING:
    from cluster.schedules.office import Office
    from cluster.schedules.schedule import Change

schedule_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Run jobs at times that cron lines name, once each: definitions, claims and history are objects in "
    "a folder or bucket, and veedor tick, from cron or anything else, does what is due.",
)

StoreOption = Annotated[
    str,
    typer.Option("--store", envvar="VEEDOR_STORE", help="Folder or s3://bucket/prefix/ of the schedules."),
]
NameArgument = Annotated[str, typer.Argument(help="Of a schedule.")]


@schedule_app.command()
def add(
    spec: Annotated[Path, typer.Argument(help="YAML or JSON job spec, as veedor run takes it.")],
    cron: Annotated[
        str, typer.Option(help="minute hour day-of-month month day-of-week: '0 2 * * *' is every day at two.")
    ],
    store: StoreOption,
    timezone: Annotated[str, typer.Option(help="IANA name of the zone whose clocks the line means.")] = "UTC",
    name: Annotated[str | None, typer.Option(help="Default: the spec's file name.")] = None,
    alert_env: Annotated[
        str | None,
        typer.Option(help="Of a scan: environment variable with the https address told of anomalies."),
    ] = None,
    attempts: Annotated[int, typer.Option(min=1, help="Failures of a run until it counts as failed.")] = 3,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of one of its name.")
    ] = False,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Add a schedule. Its first tick is the next time that the line names.

    The spec is checked and kept whole; what it names is looked at when it runs. In source.uri and sink.uri,
    {date} and {tick} stand for the tick's date and instant.
    """
    from cluster.schedule_listing import print_added
    from cluster.spec_file import read_spec_file

    with usage_errors(as_json=as_json):
        content = read_spec_file(spec)
        office = _office(store, profile, endpoint_url, region)
        named = name or spec.stem
        change = office.add(
            content,
            file=str(spec),
            name=named,
            cron=cron,
            timezone=timezone,
            alert_env=alert_env,
            max_attempts=attempts,
            replace=replace,
        )
        if change is None:
            _say(None, named, "", f"{named} is there, and the same", as_json=as_json)
        else:
            print_added(change, store=office.root, as_json=as_json)


@schedule_app.command("list")
def list_all(
    store: StoreOption,
    removed: Annotated[bool, typer.Option("--removed", help="Removed ones too.")] = False,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """List schedules: what is due next, what runs, and what the last run came to."""
    from cluster.schedule_listing import print_schedules

    with usage_errors(as_json=as_json):
        office = _office(store, profile, endpoint_url, region)
        found, problems = office.look()
        shown = [each for each in found if removed or not each.change.schedule.removed]
        last = {name: office.last_run(name) for each in shown for name in [each.change.schedule.name]}
        print_schedules(shown, last, problems, as_json=as_json)


@schedule_app.command()
def pause(
    name: NameArgument,
    store: StoreOption,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Let no tick be due until the schedule is resumed. What runs goes on."""
    with usage_errors(as_json=as_json):
        change = _office(store, profile, endpoint_url, region).pause(name)
        _say(change, name, f"{name} is paused", f"{name} was paused before", as_json=as_json)


@schedule_app.command()
def resume(
    name: NameArgument,
    store: StoreOption,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Let ticks be due again, from now on; backfill makes up for those of the pause."""
    with usage_errors(as_json=as_json):
        change = _office(store, profile, endpoint_url, region).resume(name)
        upcoming = ""
        if change is not None and (times := change.schedule.upcoming(change.at)):
            upcoming = f"; next tick {times[0].astimezone(change.schedule.zone):%Y-%m-%d %H:%M %Z}"
        _say(change, name, f"{name} is resumed{upcoming}", f"{name} is not paused", as_json=as_json)


@schedule_app.command()
def remove(
    name: NameArgument,
    store: StoreOption,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Remove a schedule. Its history stays, and the name is free."""
    with usage_errors(as_json=as_json):
        change = _office(store, profile, endpoint_url, region).remove(name)
        _say(change, name, f"{name} is removed; what it ran stays in its history", "", as_json=as_json)


@schedule_app.command()
def backfill(
    name: NameArgument,
    store: StoreOption,
    since: Annotated[
        str, typer.Option("--from", help="First time to make up for: 2026-11-01, 2026-11-01T02:00, …+01:00.")
    ],
    until: Annotated[str, typer.Option("--to", help="Last one; a date means its end.")],
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Run what was due in a past time, by the next ticks, after what is due by itself.

    A job whose source names {date} or {tick} runs once for each tick, oldest first; any other once for all.
    """
    with usage_errors(as_json=as_json):
        change, count = _office(store, profile, endpoint_url, region).backfill(name, since, until)
        text = f"{name}: {count:,} run{'s' * (count != 1)} asked for; the next ticks make them"
        _say(change, name, text, "", as_json=as_json)


@schedule_app.command()
def history(
    name: NameArgument,
    store: StoreOption,
    limit: Annotated[int, typer.Option(min=1, help="The last so many runs.")] = 20,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Show runs, the last first: when due, when claimed and by whom, attempts, and what they came to."""
    from cluster.schedule_listing import print_history

    with usage_errors(as_json=as_json):
        office = _office(store, profile, endpoint_url, region)
        schedule = office.book.find(name, removed=True).schedule
        runs = list(islice(office.runs(name).history(), limit))
        print_history(schedule, runs, as_json=as_json)


@schedule_app.command()
def serve(
    store: StoreOption,
    every_s: Annotated[float, typer.Option(min=1, help="Seconds between looks.")] = 20.0,
    at_once: Annotated[int, typer.Option(min=1, help="Run so many schedules at once.")] = 1,
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
    """Tick again and again, until SIGTERM or Ctrl-C: for machines without cron. Several may serve a store."""
    from cluster.serving import serve_store

    with usage_errors(as_json=as_json):
        office = _office(store, profile, endpoint_url, region)
    options: dict[str, object] = {
        "--address": address,
        "--submit": submit,
        "--code": code,
        "--shared-paths": shared_paths,
        "--token-file": token_file,
        "--insecure": insecure,
        "--profile": profile,
        "--endpoint-url": endpoint_url,
        "--region": region,
        "--json": as_json,
        "--verbose": verbose,
    }
    serve_store(office, options, every_s=every_s, at_once=at_once, as_json=as_json)


def _office(store: str, profile: str | None, endpoint_url: str | None, region: str | None) -> Office:
    from cluster.schedules.office import Office
    from jobs.storage import Access, open_store, resolve_location

    root = resolve_location(store)
    return Office(root, open_store(root, Access(profile, endpoint_url, region)))


def _say(change: Change | None, name: str, made: str, not_made: str, *, as_json: bool) -> None:
    """Say what was changed, or that it was so before."""
    if as_json:
        number = change.number if change else None
        typer.echo(json.dumps({"name": name, "changed": change is not None, "change": number}))
    else:
        typer.echo(made if change else not_made)
