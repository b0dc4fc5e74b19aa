"""What `veedor evaluate` prints of classifiers and localisers."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from jobs.visible import visible

if TYPE_CHECKING:
    from cvcore.metrics.classification import ClassificationMetrics
    from jobs.evaluate_classifier import ClassifierEvaluation

MAX_CONFUSED = 20
"""Classes up to which the whole matrix is printed; of more, the commonest confusions."""


def print_classifier_evaluation(found: ClassifierEvaluation, *, as_json: bool) -> None:
    """Accuracy, figures by class, confusions, and speed."""
    console = Console(highlight=False, emoji=False)
    if as_json:
        console.print_json(json.dumps(asdict(found)))
        return
    metrics = found.metrics
    console.print(_class_table(metrics))
    _print_confusions(console, metrics)
    error = metrics.localization_error
    lines = [
        f"top-1 {metrics.top1:.3f}   top-5 {metrics.top5:.3f}   "
        + ("" if error is None else f"localisation error {error:.3f} (top-1, IoU 0.5)   ")
        + f"over {metrics.num_images:,} images",
        f"{found.images_per_s:,.1f} images/s in batches of 16   one image: p50 "
        f"{1000 * found.latency_p50_s:.1f} ms, p99 {1000 * found.latency_p99_s:.1f} ms   "
        f"{found.num_parameters:,} parameters   on {found.device}",
    ]
    if found.num_failed:
        lines.append(f"{found.num_failed:,} of the images could not be decoded and do not count")
    lines += [f"{number:,} images with {why} do not count" for why, number in sorted(found.left_out.items())]
    for line in lines:
        console.print(line, soft_wrap=True)


def _class_table(metrics: ClassificationMetrics) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class")
    for title in ("precision", "recall", "F1", "images"):
        table.add_column(title, justify="right")
    for each in metrics.per_class:
        if each.support or each.precision or len(metrics.per_class) <= MAX_CONFUSED:
            shares = (f"{value:.3f}" for value in (each.precision, each.recall, each.f1))
            table.add_row(visible(each.label), *shares, f"{each.support:,}")
    return table


def _print_confusions(console: Console, metrics: ClassificationMetrics) -> None:
    labels = [visible(each.label) for each in metrics.per_class]
    if len(labels) <= MAX_CONFUSED:
        console.print("Rows are true, columns are said:")
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("")
        for label in labels:
            table.add_column(label, justify="right")
        for label, row in zip(labels, metrics.confusion, strict=True):
            table.add_row(label, *(f"{count:,}" for count in row))
        console.print(table)
        return
    wrong = [
        (count, labels[true], labels[said])
        for true, row in enumerate(metrics.confusion)
        for said, count in enumerate(row)
        if count and true != said
    ]
    if wrong:
        commonest = sorted(wrong, key=lambda each: (-each[0], each[1:]))[:MAX_CONFUSED]
        told = ", ".join(f"{count:,} {true} as {said}" for count, true, said in commonest)
        console.print(f"Most often confused: {told}", soft_wrap=True)
