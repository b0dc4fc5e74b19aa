"""A comparison of two runs: a table of their labels, or JSON; a page where asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from cluster.console import TABLE_WIDTH
from cvcore.errors import SpecError, VeedorError
from jobs.compare_runs import Options, RunComparison, compare_runs, is_run, open_runs
from jobs.report.run_comparison import run_names, table_cells
from jobs.run_comparison_files import run_comparison_content, write_run_comparison
from jobs.storage import Access
from jobs.visible import visible

MAX_LABELS = 30


def are_runs(names: Sequence[str], access: Access, *, data: str | None) -> bool:
    """Whether a comparison is of runs; else it is of models.

    Raises:
        SpecError: for runs among models, for models without a dataset, and for other than two runs.
    """
    runs = [name for name in names if _is_run(name, access)]
    if data is not None:
        if runs:
            raise SpecError(
                f"{runs[0]} is a run, and --data is for models: leave it out to compare two runs, or measure "
                "one against truth by veedor evaluate RUN --truth FILE"
            )
        return False
    if not runs:
        raise SpecError(
            f"{', '.join(names)}: no run, for none has _veedor/job.json. Models are compared on a dataset: "
            "name it with --data. Of runs, name two folders that jobs wrote"
        )
    others = [name for name in names if name not in runs]
    if others:
        raise SpecError(
            f"{runs[0]} is a run, {others[0]} is none (it has no _veedor/job.json): compare two runs, or "
            "several models on --data"
        )
    if len(names) != 2:
        raise SpecError(f"two runs are compared, not {len(names)}")
    return True


def _is_run(name: str, access: Access) -> bool:
    try:
        return is_run(name, access)
    except VeedorError:
        return False  # what it is instead is said by whoever takes it for a model


def run_runs_comparison(
    one: str, other: str, options: Options, *, out: str | None, access: Access, as_json: bool
) -> None:
    """Compare, print, and write where `out` says.

    Raises:
        SpecError: for runs that cannot be compared.
    """
    with open_runs(one, other, access=access, partial=options.partial) as (first, second):
        found = compare_runs(first, second, options)
        page = None if out is None else write_run_comparison(found, first, out, access)
    if as_json:
        typer.echo(json.dumps({"event": "result", **run_comparison_content(found)}))
        return
    _print(found)
    if page is not None:
        typer.echo(f"Report: {page}")


def _print(found: RunComparison) -> None:
    console = Console(highlight=False, emoji=False)
    console.width = max(console.width, TABLE_WIDTH)
    first, second = run_names(found)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("label", overflow="fold")
    for title in ("first", "second", "both", "other label", "only first", "only second", "IoU", "Δ score"):
        table.add_column(title, justify="right", no_wrap=True)
    for label, each in list(found.labels.items())[:MAX_LABELS]:
        table.add_row(visible(label), *table_cells(each))
    if len(found.labels) != 1:
        table.add_row("all", *table_cells(found.total))
    console.print(table)
    lines = [
        f"first {first}, second {second}: {found.num_images:,} images, {found.num_alike:,} of them alike"
    ]
    if len(found.labels) > MAX_LABELS:
        lines.append(f"{len(found.labels) - MAX_LABELS:,} labels with fewer detections are not shown")
    told = (
        (found.changed, "seen in different versions, which are not compared"),
        (found.only_in.one, "only in the first run"),
        (found.only_in.other, "only in the second run"),
        (found.failed.one, "failed in the first run alone"),
        (found.failed.other, "failed in the second run alone"),
    )
    lines += [f"{count:,} images {words}" for count, words in told if count]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
