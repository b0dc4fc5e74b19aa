"""What a comparison of runs leaves: its figures as JSON, and a page with pictures."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from jobs.compare_runs import Example, RunComparison
from jobs.export.rows import Found
from jobs.paired import IndexedRun
from jobs.report.row_pictures import frame_pictures, run_pictures
from jobs.report.run import read_decoding
from jobs.report.run_comparison import render_run_comparison
from jobs.report.statistics import Histogram
from jobs.storage import Access, join, open_store, resolve_location

NAME = "comparison"


def write_run_comparison(found: RunComparison, one: IndexedRun, out: str, access: Access) -> str:
    """Put the page and the figures into a folder, in place of what is there; returns where the page is.

    Args:
        found: the comparison.
        one: its first run, whose images are shown.
        out: the folder.
        access: to it, and to the images as far as the run does not say.
    """
    folder = resolve_location(out)
    store = open_store(folder, access)
    how = read_decoding(one.run, access)
    pictures = run_pictures(one.run, how, frames=frame_pictures(one.run, how))
    store.put(join(folder, f"{NAME}.json"), json.dumps(run_comparison_content(found), indent=1).encode())
    page = join(folder, f"{NAME}.html")
    store.put(page, render_run_comparison(found, pictures).encode())
    return page


def run_comparison_content(found: RunComparison) -> dict[str, Any]:
    """All figures as JSON has them."""
    total = asdict(found.total)
    return {
        "runs": [found.one, found.other],
        "models": list(found.models),
        "min_iou": found.min_iou,
        "images": {
            "compared": found.num_images,
            "alike": found.num_alike,
            "only_in": [found.only_in.one, found.only_in.other],
            "failed_in": [found.failed.one, found.failed.other],
            "changed": found.changed,
        },
        "agreement": None if math.isnan(found.agreement) else found.agreement,
        "objects": _means(total),
        "labels": [{"label": label, **_means(asdict(each))} for label, each in found.labels.items()],
        "swaps": [
            {"one": one, "other": other, "objects": count}
            for (one, other), count in found.swaps.most_common()
        ],
        "ious": _histogram(found.iou_histogram),
        "score_changes": _histogram(found.change_histogram),
        "examples": {
            kind: [_example(each) for each in examples] for kind, examples in found.examples.items()
        },
    }


def _histogram(histogram: Histogram) -> dict[str, Any]:
    return {"edges": list(histogram.edges), "counts": list(histogram.counts)}


def _means(figures: dict[str, Any]) -> dict[str, Any]:
    """Sums over what both found, as means."""
    same = figures["same"]
    means = {
        "mean_iou": figures.pop("iou") / same if same else None,
        "mean_score_change": figures.pop("change") / same if same else None,
    }
    return figures | means


def _example(example: Example) -> dict[str, Any]:
    return {
        "uri": example.image["uri"],
        "frame_index": example.image["frame_index"],
        "one": _found(example.one),
        "other": _found(example.other),
        "iou": example.iou,
    }


def _found(found: Found | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "number": found.number,
        "label": found.label,
        "score": found.score,
        "box": list(found.box),
    }
