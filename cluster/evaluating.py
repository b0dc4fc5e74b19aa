"""`veedor evaluate`: figures of a model on a dataset, or of a run's class maps, and where their page is."""

from __future__ import annotations

import typer

from cluster.classifier_listing import print_classifier_evaluation
from cluster.listing import print_model_evaluation
from cluster.segment_listing import print_maps, print_segmenter_evaluation
from cvcore.classify.base import Classifier
from cvcore.classify.localizer import Localizer
from cvcore.errors import SpecError
from cvcore.segment.base import Segmenter
from jobs.evaluate_classifier import evaluate_classifier
from jobs.evaluate_maps import evaluate_maps_of
from jobs.evaluate_model import evaluate_detector, load_measurable, open_split, read_split
from jobs.evaluate_segmenter import evaluate_segmenter
from jobs.evaluation_files import write_evaluation
from jobs.segmentation_files import write_segmentation
from jobs.spec import ModelSection
from jobs.storage import Access
from jobs.worst_maps import WorstMaps


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
    """Measure a model on a split, print its figures, and write them with a page where `out` says.

    Raises:
        SpecError, ModelError, StorageError: see `jobs.evaluate_model`.
    """
    model = load_measurable(section, access)
    if out is not None and isinstance(model, Classifier | Localizer):
        raise SpecError(f"--out is of detectors and segmenters, and {section.name} is none: leave it out")
    if isinstance(model, Segmenter):
        worst = WorstMaps()
        of_maps = evaluate_segmenter(model, data, split, access=access, worst=worst if out else None)
        print_segmenter_evaluation(of_maps, as_json=as_json)
        if out is not None:
            page = write_segmentation(
                of_maps, worst, name=section.name, data=data, split=split, out=out, access=access
            )
            _print_page(page, as_json=as_json)
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
    _print_page(write_evaluation(found, on, out=out, access=access), as_json=as_json)


def evaluate_map_run(
    run: str, truth: str, *, split: str | None, out: str | None, access: Access, as_json: bool
) -> None:
    """Compare a run's class maps with masks, print the figures, and write them with a page where `out` says.

    Raises:
        SpecError, StorageError: see `jobs.evaluate_maps`.
    """
    worst = WorstMaps()
    found = evaluate_maps_of(run, truth, access=access, split=split, worst=worst if out else None)
    print_maps(found, as_json=as_json)
    if out is not None:
        page = write_segmentation(found, worst, name=run, data=truth, split=split, out=out, access=access)
        _print_page(page, as_json=as_json)


def _print_page(page: str, *, as_json: bool) -> None:
    if not as_json:
        typer.echo(f"Report: {page}")
