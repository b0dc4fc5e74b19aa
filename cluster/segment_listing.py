"""What `veedor evaluate` prints of class maps and of segmenters."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from jobs.visible import visible

if TYPE_CHECKING:
    from cvcore.metrics.segmentation import SegmentationMetrics
    from jobs.evaluate_maps import MapEvaluation
    from jobs.evaluate_segmenter import SegmenterEvaluation


def print_maps(found: MapEvaluation, *, as_json: bool) -> None:
    """How well a run's class maps agree with masks, by class and together."""
    console = Console(highlight=False, emoji=False)
    if as_json:
        console.print_json(json.dumps(_known(asdict(found))))
        return
    _print_metrics(console, found.metrics, found.labels, found.num_images)
    if found.num_missing or found.num_failed:
        console.print(
            f"{found.num_missing:,} images of the masks are not in the run, {found.num_failed:,} failed in it"
        )


def print_segmenter_evaluation(found: SegmenterEvaluation, *, as_json: bool) -> None:
    """The same of a model, and its speed."""
    console = Console(highlight=False, emoji=False)
    if as_json:
        console.print_json(json.dumps(_known(asdict(found))))
        return
    _print_metrics(console, found.metrics, found.labels, found.num_images - found.num_failed)
    console.print(
        f"{found.images_per_s:,.1f} images/s in batches   one image: p50 {1000 * found.latency_p50_s:.1f} ms,"
        f" p99 {1000 * found.latency_p99_s:.1f} ms   {found.num_parameters:,} parameters   on {found.device}",
        soft_wrap=True,
    )
    if found.num_failed:
        console.print(f"{found.num_failed:,} images, or their masks, could not be used and do not count")


def _print_metrics(
    console: Console, metrics: SegmentationMetrics, labels: tuple[str, ...], num_images: int
) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class")
    for title in ("IoU", "Dice", "boundary F1"):
        table.add_column(title, justify="right")
    columns = (metrics.class_iou, metrics.class_dice, metrics.class_boundary_f1)
    for label, *values in zip(labels, *columns, strict=True):
        table.add_row(visible(label), *("-" if math.isnan(value) else f"{value:.3f}" for value in values))
    console.print(table)
    console.print(
        f"mIoU {metrics.mean_iou:.3f}   frequency-weighted IoU {metrics.weighted_iou:.3f}   "
        f"Dice {metrics.mean_dice:.3f}   boundary F1 {metrics.boundary_f1:.3f}   "
        f"pixel accuracy {metrics.pixel_accuracy:.3f}   mean accuracy {metrics.mean_accuracy:.3f}   "
        f"in {num_images:,} images",
        soft_wrap=True,
    )


def _known(value: Any) -> Any:
    """JSON has no NaN: what nothing says is null."""
    if isinstance(value, dict):
        return {key: _known(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_known(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value
