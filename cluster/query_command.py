"""`veedor query`: SQL over a run, as a table, JSON lines or CSV."""

from __future__ import annotations

import csv
import io
import json
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.exits import fail, usage_errors
from cluster.options import Endpoint, Json, Profile, Region

if TYPE_CHECKING:
    from jobs.query.session import Answer

MAX_SHOWN_ROWS = 1000
MAX_SHOWN_BYTES = 16


def query(
    run: Annotated[str, typer.Argument(help="The --out of a job.")],
    sql: Annotated[str, typer.Argument(help="One SELECT, in DuckDB's SQL.")],
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header instead of a table.")] = False,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Ask a run in SQL: views images, detections, tracks, failures and what else it holds.

    Rows are read where they are; nothing else can be reached, and nothing is changed. A mistake in the SQL is
    answered with the views and their columns.
    """
    from jobs.query.session import open_query
    from jobs.storage import Access

    if as_csv and as_json:
        fail("name one of --csv and --json", as_json=True)
    with usage_errors(as_json=as_json):
        answer = open_query(run, access=Access(profile, endpoint_url, region)).ask(sql)
        if as_json:
            _print_json(answer)
        elif as_csv:
            _print_csv(answer)
        else:
            _print_table(answer)


def _print_json(answer: Answer) -> None:
    for row in answer.rows:
        typer.echo(json.dumps(dict(zip(answer.columns, map(_plain, row), strict=True))))


def _print_csv(answer: Answer) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(answer.columns)
    for row in answer.rows:
        writer.writerow([json.dumps(v) if isinstance(v, list | dict) else v for v in map(_plain, row)])
        typer.echo(buffer.getvalue(), nl=False)
        buffer.seek(0)
        buffer.truncate()
    typer.echo(buffer.getvalue(), nl=False)


def _print_table(answer: Answer) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from jobs.visible import visible

    console = Console(highlight=False, emoji=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    rows = list(islice(answer.rows, MAX_SHOWN_ROWS))
    for place, name in enumerate(answer.columns):
        numeric = bool(rows) and isinstance(rows[0][place], int | float)
        table.add_column(escape(visible(name)), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(visible(_text(value))) for value in row))
    console.print(table)
    if next(answer.rows, None) is not None:
        console.print(f"and more: the first {MAX_SHOWN_ROWS:,} are shown; --csv and --json give all")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return f"{len(value):,} bytes" if len(value) > MAX_SHOWN_BYTES else value.hex()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: bytes as hexadecimal digits, times in ISO's form."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value)
