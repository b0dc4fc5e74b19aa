"""Tables that commands print on standard output."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from cvcore.catalog import CATALOG
from cvcore.catalog_entries import ModelEntry
from jobs.visible import visible

if TYPE_CHECKING:
    from cvcore.metrics.detection import DetectionMetrics
    from cvcore.metrics.mask_quality import MaskQuality
    from cvcore.metrics.retrieval import RetrievalMetrics
    from cvcore.metrics.tracking import TrackingEvaluation, TrackingMetrics
    from jobs.evaluate import Evaluation
    from jobs.evaluate_anomalies import AnomalyEvaluation
    from jobs.evaluate_model import ModelEvaluation
    from jobs.evaluate_proposals import ProposalEvaluation


def print_models(*, as_json: bool) -> None:
    """The catalogue."""
    if as_json:
        Console().print_json(json.dumps({name: _model_facts(entry) for name, entry in CATALOG.items()}))
        return
    lines = []
    for name, entry in CATALOG.items():
        size = f"{entry.input_height}x{entry.input_width}"
        lines += [
            f"{name:<38} {entry.task:<8} {size:>9} {entry.num_parameters / 1e6:>8.2f} M parameters",
            f"    {entry.summary}",
            f"    weights: {_weights_text(entry)}",
        ]
    lines += [
        "FILE.cfg",
        "    Any Darknet detector: give its weights with --weights FILE.weights and its names with --labels",
        "FILE.safetensors",
        "    Any checkpoint of veedor train",
        "",
        "References and papers: veedor models --json",
    ]
    typer.echo("\n".join(lines))


def _weights_text(entry: ModelEntry) -> str:
    if not entry.num_parameters:
        return "none"
    if entry.weights is None:
        return "from veedor train, or yours with --weights" if entry.trains else "yours, with --weights"
    origin = "shipped with veedor" if entry.weights.startswith("package://") else entry.weights
    return f"{origin}; {entry.weights_licence}; {entry.weights_source}"


def _model_facts(entry: ModelEntry) -> dict[str, object]:
    names = ("task", "summary", "input_height", "input_width", "num_parameters", "num_labels", "label_set")
    more = ("paper", "weights", "weights_licence", "weights_source")
    return {name: getattr(entry, name) for name in (*names, *more)}


def print_evaluation(found: Evaluation, *, as_json: bool) -> None:
    """COCO's figures of a run."""
    console = Console(highlight=False, emoji=False)
    if as_json:
        console.print_json(json.dumps(asdict(found)))
        return
    _print_detection(console, found.metrics, found.num_images, found.masks)
    if found.num_missing or found.num_failed:
        console.print(
            f"{found.num_missing:,} images of the ground truth are not in the run, "
            f"{found.num_failed:,} failed in it"
        )


def print_model_evaluation(found: ModelEvaluation, *, as_json: bool) -> None:
    """COCO's and Pascal VOC's figures of a detector, its size and its speed."""
    from jobs.evaluation_files import evaluation_content

    console = Console(highlight=False, emoji=False)
    if as_json:
        console.print_json(json.dumps(evaluation_content(found)))
        return
    quality, cost = found.quality, found.cost
    _print_detection(console, quality.metrics, found.num_images, quality.masks)
    lines = [
        f"VOC07 mAP {quality.voc.map07:.3f}   VOC10 mAP {quality.voc.map10:.3f}   "
        f"of {quality.voc.num_objects:,} objects, {quality.voc.num_difficult:,} more are difficult",
        f"{cost.num_parameters:,} parameters   {cost.num_operations / 1e9:.3f} G operations an image "
        "(a multiply-add is 2)",
    ]
    if found.num_failed:
        lines.insert(0, f"{found.num_failed:,} of the images could not be decoded")
    for line in [*lines, *_speed_lines(found)]:
        console.print(line, soft_wrap=True)


def _speed_lines(found: ModelEvaluation) -> list[str]:
    if found.speed is None:
        return []
    single, best = found.speed.single, found.speed.best
    return [
        f"{best.images_per_s:,.1f} images/s in batches of {best.batch_size}   one image: p50 "
        f"{1000 * single.latency_p50_s:.1f} ms, p99 {1000 * single.latency_p99_s:.1f} ms   "
        f"on {found.speed.device}"
    ]


def _print_detection(
    console: Console, metrics: DetectionMetrics, num_images: int, masks: MaskQuality | None
) -> None:
    of_masks = None if masks is None else masks.metrics
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class")
    for title in ("AP@0.5", "mask AP@0.5") if of_masks else ("AP@0.5",):
        table.add_column(title, justify="right")
    for label, value in metrics.per_class_ap50.items():
        more = (f"{of_masks.per_class_ap50[label]:.3f}",) if of_masks else ()
        table.add_row(visible(label), f"{value:.3f}", *more)
    console.print(table)
    console.print(f"{_means(metrics)}   over {num_images:,} images (pycocotools)", soft_wrap=True)
    if of_masks:
        console.print(f"masks: {_means(of_masks)}", soft_wrap=True)
    elif masks is not None:
        console.print(f"masks are not compared: {visible(masks.why_not)}", soft_wrap=True)


def _means(metrics: DetectionMetrics) -> str:
    return f"mAP@0.5 {metrics.ap50:.3f}   mAP@0.75 {metrics.ap75:.3f}   mAP@[0.5:0.95] {metrics.ap:.3f}"


def print_proposals(found: ProposalEvaluation, *, as_json: bool) -> None:
    """Coverage of objects by a run's proposals, by class and together."""
    console = Console(highlight=False, emoji=False)
    if as_json:
        console.print_json(json.dumps(asdict(found)))
        return
    metrics = found.metrics
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class")
    for title in ("recall@0.5", "average best overlap"):
        table.add_column(title, justify="right")
    for label, overlap in metrics.per_class_abo.items():
        table.add_row(visible(label), f"{metrics.per_class_recall[label]:.3f}", f"{overlap:.3f}")
    console.print(table)
    console.print(
        f"{metrics.boxes_per_image:,.0f} boxes an image   recall@0.5 {metrics.recall:.3f}   "
        f"MABO {metrics.mabo:.3f}   of {metrics.num_objects:,} objects in {metrics.num_images:,} images",
        soft_wrap=True,
    )
    if found.num_missing or found.num_failed:
        console.print(
            f"{found.num_missing:,} images of the ground truth are not in the run, "
            f"{found.num_failed:,} failed in it"
        )


def print_anomalies(found: AnomalyEvaluation, *, as_json: bool) -> None:
    """Figures of scans."""
    if as_json:
        Console().print_json(json.dumps(asdict(found)))
        return
    lines = [
        f"{found.num_normal:,} normal and {found.num_anomalous:,} anomalous images"
        + (f"; {found.num_failed:,} failed" if found.num_failed else ""),
        f"Image AUROC {found.auroc:.3f}, average precision {found.average_precision:.3f}, best F1 "
        f"{found.best_f1:.3f} (above {found.best_threshold:.4g}), false positives at 95 % recall "
        f"{found.fpr_at_recall:.3f}",
        "AUROC by kind: "
        + ", ".join(f"{visible(kind)} {value:.3f}" for kind, value in found.by_kind.items()),
    ]
    if found.pixels is None:
        lines.append(f"No pixel figures: {found.no_pixels}")
    else:
        lines.append(f"Pixel AUROC {found.pixels.auroc:.3f}, AUPRO {found.pixels.aupro:.3f}")
    typer.echo("\n".join(lines))


def print_retrieval(found: RetrievalMetrics, *, as_json: bool) -> None:
    """Figures of an index."""
    if as_json:
        Console().print_json(json.dumps(asdict(found)))
        return
    typer.echo(
        f"{found.num_queries:,} queries, labels by folder: precision@{found.k} {found.precision:.3f}, "
        f"recall@{found.k} {found.recall:.3f}, mAP {found.mean_average_precision:.3f}"
    )


def print_tracking(found: TrackingEvaluation, *, as_json: bool) -> None:
    """HOTA, CLEAR MOT and IDF1 of a run, by sequence and together."""
    console = Console(highlight=False, emoji=False)
    if as_json:
        console.print_json(json.dumps(asdict(found)))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("sequence")
    for title in ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "id switches", "false", "missed"):
        table.add_column(title, justify="right")
    for name, metrics in sorted(found.sequences.items()):
        table.add_row(visible(name), *_tracking_cells(metrics))
    if len(found.sequences) > 1:
        table.add_row("together", *_tracking_cells(found.combined))
    console.print(table)
    metrics = found.combined
    console.print(
        f"HOTA {metrics.hota:.3f}   MOTA {metrics.mota:.3f}   IDF1 {metrics.idf1:.3f}   "
        f"over {len(found.sequences):,} sequence{'s' * (len(found.sequences) != 1)}",
        soft_wrap=True,
    )


def _tracking_cells(metrics: TrackingMetrics) -> list[str]:
    shares = (metrics.hota, metrics.deta, metrics.assa, metrics.mota, metrics.idf1)
    return [
        *(f"{each:.3f}" for each in shares),
        *(f"{n:,}" for n in (metrics.num_switches, metrics.fp, metrics.fn)),
    ]
