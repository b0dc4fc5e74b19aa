"""`veedor evaluate MODEL --data DATASET`: figures of a model, and where a detector's page is."""

from __future__ import annotations

import typer

from cluster.classifier_listing import print_classifier_evaluation
from cluster.listing import print_model_evaluation
from cluster.segment_listing import print_segmenter_evaluation
from cvcore.classify.base import Classifier
from cvcore.classify.localizer import Localizer
from cvcore.errors import SpecError
from cvcore.segment.base import Segmenter
from jobs.evaluate_classifier import evaluate_classifier
from jobs.evaluate_model import evaluate_detector, load_measurable, open_split, read_split
from jobs.evaluate_segmenter import evaluate_segmenter
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
    """Measure a model on a split, print its figures, and write a detector's with a page where `out` says.

    Raises:
        SpecError, ModelError, StorageError: see `jobs.evaluate_model`.
    """
    model = load_measurable(section, access)
    if out is not None and isinstance(model, Classifier | Localizer | Segmenter):
        raise SpecError(f"--out is of detectors, and {section.name} is none: leave it out")
    if isinstance(model, Segmenter):
        of_maps = evaluate_segmenter(model, data, split, access=access)
        print_segmenter_evaluation(of_maps, as_json=as_json)
        return
    if isinstance(model, Classifier | Localizer):
        source, dataset = read_split(data, split, access)
        measured = evaluate_classifier(model, source, dataset, name=f"{data}, {split}")
        print_classifier_evaluation(measured, as_json=as_json)
        return
    on = open_split(data, split, access)
    found = evaluate_detector(model, on, name=section.name, min_score=min_score, speed_budget_s=speed_s)
    print_model_evaluation(found, as_json=as_json)  # first: what took long is not lost where `out` fails
    if out is None:
        return
    page = write_evaluation(found, on, out=out, access=access)
    if not as_json:
        typer.echo(f"Report: {page}")
