"""A comparison as it runs: a line a model, then the table."""

from __future__ import annotations

import json
from collections.abc import Sequence

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from cluster.console import TABLE_WIDTH, Display, open_display
from cvcore.errors import SpecError
from jobs.compare_models import Compared, Comparison, compare_models
from jobs.comparison_files import ComparisonFolder, comparison_content
from jobs.report.comparison import COLUMNS, table_rows
from jobs.spec import ModelSection
from jobs.storage import Access
from jobs.visible import visible


def run_comparison(
    models: Sequence[str],
    data: str,
    *,
    split: str,
    weights: Sequence[str],
    labels: Sequence[str],
    speed_s: float,
    out: str | None,
    access: Access,
    as_json: bool,
) -> bool:
    """Compare, print, and write where `out` says; returns whether some model failed.

    Raises:
        SpecError: for models that cannot be compared on this data, before any is run.
    """
    display = open_display(as_json=as_json)
    folder = None if out is None else ComparisonFolder(out, access)
    sections = name_models(models, weights, labels)

    def tell(done: Comparison) -> None:
        _tell(display, done.rows[-1], len(done.rows), len(sections))
        if folder is not None:
            folder.write(done)

    found = compare_models(sections, data, split=split, access=access, speed_budget_s=speed_s, on_model=tell)
    if as_json:
        typer.echo(json.dumps({"event": "result", **comparison_content(found)}))
    else:
        _print(found)
        if folder is not None:
            typer.echo(f"Report: {folder.page}")
    return any(row.found is None for row in found.rows)


def name_models(models: Sequence[str], weights: Sequence[str], labels: Sequence[str]) -> list[ModelSection]:
    """Models with the files that `MODEL=FILE` texts give them.

    Raises:
        SpecError: for a text that is none, or names no model of the comparison.
    """
    own_weights, own_labels = _files(weights, "--weights", models), _files(labels, "--labels", models)
    return [
        ModelSection(name=name, weights=own_weights.get(name), labels=own_labels.get(name)) for name in models
    ]


def _files(pairs: Sequence[str], option: str, models: Sequence[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not equals or name not in models or not file:
            raise SpecError(
                f"{option} {pair}: write MODEL=FILE, with MODEL as it is named in the comparison: "
                f"{', '.join(models)}"
            )
        found[name] = file
    return found


def _tell(display: Display, row: Compared, number: int, total: int) -> None:
    if row.found is None:
        display.step(f"{number}/{total} {row.name}: {row.error}", model=row.name, error=row.error)
        return
    ap50 = row.found.quality.metrics.ap50
    display.step(f"{number}/{total} {row.name}: mAP@0.5 {ap50:.3f}", model=row.name, ap50=ap50)


def _print(found: Comparison) -> None:
    console = Console(highlight=False, emoji=False)
    console.width = max(console.width, TABLE_WIDTH)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("method", overflow="fold")
    for column in COLUMNS:
        table.add_column(column.title, justify="right", no_wrap=True)
    for cells in table_rows(found):
        table.add_row(*map(visible, cells))
    console.print(table)
    for row in found.rows:
        if row.found is None:
            console.print(f"{visible(row.name)} failed: {visible(row.error)}", markup=False, soft_wrap=True)
    console.print(found.caption, markup=False, soft_wrap=True)
