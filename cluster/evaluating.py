"""`veedor evaluate MODEL --data DATASET`: figures of a detector, and where their page is."""

from __future__ import annotations

import typer

from cluster.listing import print_model_evaluation
from jobs.evaluate_model import evaluate_detector, load_detector, open_split
from jobs.evaluation_files import write_evaluation
from jobs.spec import ModelSection
from jobs.storage import Access


def evaluate_on_data(
    section: ModelSection,
    data: str,
    *,
    split: str,
    min_score: float,
    speed_s: float,
    out: str | None,
    access: Access,
    as_json: bool,
) -> None:
    """Measure a detector on a split, print its figures, and write them with a page where `out` says.

    Raises:
        SpecError, ModelError, StorageError: see `jobs.evaluate_model`.
    """
    model = load_detector(section, access)
    on = open_split(data, split, access)
    found = evaluate_detector(model, on, name=section.name, min_score=min_score, speed_budget_s=speed_s)
    print_model_evaluation(found, as_json=as_json)  # first: what took long is not lost where `out` fails
    if out is None:
        return
    page = write_evaluation(found, on, out=out, access=access)
    if not as_json:
        typer.echo(f"Report: {page}")
