"""The page of a detector's evaluation: figures, curves, confusions, speed, and pictures of its errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from cvcore.metrics.confusion import ConfusionMatrix
from cvcore.metrics.detection_quality import DetectionQuality
from jobs.report import text
from jobs.report.colors import label_color
from jobs.report.crops import ErrorCard
from jobs.report.page import EVALUATION_STYLES, asset_text, content_policy, find_template
from jobs.report.plot import Axis, Plot, Series, draw_plot
from jobs.report.views import Counter
from jobs.visible import visible

if TYPE_CHECKING:
    from jobs.evaluate_model import ModelEvaluation

TEMPLATE = "evaluation.html.j2"
MAX_CURVES = 12
KINDS = {
    "classification": "well placed, on an object of another class",
    "localisation": "on an object of its class, badly placed (IoU of 0.1 to 0.5)",
    "both": "badly placed, on an object of another class",
    "duplicate": "of an object that a better detection found",
    "background": "on nothing (IoU below 0.1)",
}


@dataclass(frozen=True, slots=True)
class ConfusionCell:
    """A count; `share` is of its row, 0 to 1, `right` says that it lies on the diagonal."""

    count: int
    share: float
    right: bool
    title: str


def render_evaluation(
    found: ModelEvaluation, *, wrong: Sequence[ErrorCard], missed: Sequence[ErrorCard]
) -> str:
    """The page as HTML; it refers to nothing outside itself and runs nothing."""
    quality = found.quality
    return find_template(TEMPLATE).render(
        title=f"{visible(found.model)} on {visible(found.data)}",
        kind="evaluation report",
        heading=visible(found.model),
        policy=content_policy(""),
        style=Markup(asset_text(EVALUATION_STYLES)),
        facts=_facts(found),
        warnings=_warnings(found),
        counters=_counters(found),
        summary=_summary(quality),
        classes=_class_rows(quality),
        curves=pr_plot(quality),
        num_more_curves=max(0, len(quality.curves) - MAX_CURVES),
        confusion=confusion_rows(quality.confusion),
        confusion_labels=[*map(visible, quality.confusion.labels)],
        min_score=f"{quality.errors.min_score:g}",
        kinds=[(kind, count, KINDS[kind]) for kind, count in quality.errors.counts.items()],
        num_missed=quality.errors.num_missed,
        wrong=wrong,
        missed=missed,
        speed=found.speed,
        threads=text.plural(found.speed.threads, "thread") if found.speed else "",
        rates=_rates(found),
        cost=found.cost,
        options=found.options,
    )


def pr_plot(quality: DetectionQuality) -> Plot:
    """Precision over recall of the classes with the most objects."""
    order = sorted(quality.num_objects, key=lambda label: -quality.num_objects[label])[:MAX_CURVES]
    colors = {label: label_color(k) for k, label in enumerate(quality.curves)}
    series = []
    for label in order:
        points = [(point.recall, point.precision) for point in quality.curves[label]]
        if points:
            # From the left edge, and down where nothing more is found.
            ends = [(0.0, points[0][1]), *points, (points[-1][0], 0.0)]
            series.append(Series(visible(label), colors[label], ends))
    return draw_plot("Precision over recall", series, x_label="recall", x=Axis(0.0, 1.0), y=Axis(0.0, 1.0))


def confusion_rows(matrix: ConfusionMatrix) -> list[tuple[str, list[ConfusionCell]]]:
    """Rows of true classes, then of the background, each with its cells."""
    rows_of = [*map(visible, matrix.labels), "background"]
    columns = [*map(visible, matrix.labels), "missed"]
    rows = []
    for i, (name, counts) in enumerate(zip(rows_of, matrix.counts, strict=True)):
        total = sum(counts) or 1
        cells = [
            ConfusionCell(count, count / total, i == j and i < len(matrix.labels), f"{name} as {columns[j]}")
            for j, count in enumerate(counts)
        ]
        rows.append((name, cells))
    return rows


def _facts(found: ModelEvaluation) -> list[tuple[str, str]]:
    spec = found.input_spec
    facts = [
        ("Dataset", visible(found.data)),
        ("Split", visible(found.split)),
        ("Images", text.integer(found.num_images)),
        ("Objects", text.integer(found.quality.metrics.num_objects)),
        ("Canvas", f"{spec.width}x{spec.height}, {spec.fit.replace('_', ' ')}"),
    ]
    if found.quality.voc.num_difficult:
        facts.append(("Difficult objects", text.integer(found.quality.voc.num_difficult)))
    return [*facts, ("Device", found.speed.device)] if found.speed else facts


def _warnings(found: ModelEvaluation) -> list[str]:
    warnings = []
    if found.num_failed:
        warnings.append(
            f"{text.plural(found.num_failed, 'image')} could not be decoded: their objects count as missed."
        )
    masks = found.quality.masks
    if masks is not None and masks.why_not:
        warnings.append(f"Masks are not compared: {visible(masks.why_not)}.")
    return warnings


def _counters(found: ModelEvaluation) -> list[Counter]:
    quality, cost, speed = found.quality, found.cost, found.speed
    counters = [
        Counter("mAP@[0.5:0.95]", text.share(quality.metrics.ap), "COCO"),
        Counter("mAP@0.5", text.share(quality.metrics.ap50), "COCO"),
        *_mask_counters(quality),
        Counter("mAP, VOC07", text.share(quality.voc.map07), "11 points"),
        Counter("mAP, VOC10", text.share(quality.voc.map10), "area"),
    ]
    if speed is not None:
        counters += [
            Counter("Images/s", text.decimal(speed.best.images_per_s), f"batches of {speed.best.batch_size}"),
            Counter("One image", f"{1000 * speed.single.latency_p50_s:.1f} ms", "median"),
        ]
    return [
        *counters,
        Counter("Parameters", f"{cost.num_parameters / 1e6:.2f} M"),
        Counter("Operations", f"{cost.num_operations / 1e9:.2f} G", "multiply-add is 2"),
    ]


def _mask_counters(quality: DetectionQuality) -> list[Counter]:
    masks = None if quality.masks is None else quality.masks.metrics
    if masks is None:
        return []
    return [
        Counter("Mask mAP@[0.5:0.95]", text.share(masks.ap), "COCO"),
        Counter("Mask mAP@0.5", text.share(masks.ap50), "COCO"),
    ]


def _summary(quality: DetectionQuality) -> list[tuple[str, str, str]]:
    coco, voc = quality.metrics, quality.voc
    rows = [
        ("AP", coco.ap, "COCO: mean over IoU 0.50, 0.55 … 0.95 and classes"),
        ("AP50", coco.ap50, "COCO, at an IoU of 0.5"),
        ("AP75", coco.ap75, "COCO, at an IoU of 0.75"),
        ("AP small", coco.ap_small, "COCO, objects below 32² pixels"),
        ("AP medium", coco.ap_medium, "COCO, objects between"),
        ("AP large", coco.ap_large, "COCO, objects above 96² pixels"),
        ("AR100", coco.recall, "COCO: mean recall of at most 100 detections an image"),
        ("VOC07", voc.map07, "Pascal VOC until 2009: 11 recalls, at an IoU of 0.5"),
        ("VOC10", voc.map10, "Pascal VOC since 2010: area under the envelope, at an IoU of 0.5"),
    ]
    masks = None if quality.masks is None else quality.masks.metrics
    if masks is not None:
        rows += [
            ("Mask AP", masks.ap, "COCO, of masks: mean over IoU 0.50, 0.55 … 0.95 and classes"),
            ("Mask AP50", masks.ap50, "COCO, of masks, at an IoU of 0.5"),
            ("Mask AP75", masks.ap75, "COCO, of masks, at an IoU of 0.75"),
            ("Mask AP small", masks.ap_small, "COCO, masks below 32² pixels"),
            ("Mask AP medium", masks.ap_medium, "COCO, masks between"),
            ("Mask AP large", masks.ap_large, "COCO, masks above 96² pixels"),
        ]
    return [(name, text.share(value), about) for name, value, about in rows]


def _class_rows(quality: DetectionQuality) -> list[list[str]]:
    coco, voc = quality.metrics, quality.voc
    rows = []
    for label, count in quality.num_objects.items():
        figures = [
            coco.per_class_ap,
            coco.per_class_ap50,
            coco.per_class_ap75,
            coco.per_class_ap_small,
            coco.per_class_ap_medium,
            coco.per_class_ap_large,
            voc.per_class_ap07,
            voc.per_class_ap10,
        ]
        point = quality.best_f1[label]
        best = [math.nan] * 4 if point is None else [point.threshold, point.f1, point.precision, point.recall]
        values = [*(each.get(label, math.nan) for each in figures), *best]
        rows.append([visible(label), text.integer(count), *map(text.share, values)])
    return rows


def _rates(found: ModelEvaluation) -> list[tuple[int, str, str]]:
    """Batch sizes that were tried, their rates, and the same as a share of the best, percent."""
    if found.speed is None:
        return []
    most = max(found.speed.rates.values())
    return [
        (size, text.decimal(rate), f"{100 * rate / most:.1f}") for size, rate in found.speed.rates.items()
    ]
