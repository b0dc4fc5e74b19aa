"""The page of a segmenter's evaluation: figures, classes, confusions, and its worst images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from cvcore.errors import VeedorError
from cvcore.image.limits import DecodeLimits
from cvcore.metrics.segmentation import Counts, SegmentationMetrics
from jobs.report import text
from jobs.report.evaluation import ConfusionCell
from jobs.report.map_pictures import class_colors, map_uri, wrong_uri
from jobs.report.page import EVALUATION_STYLES, asset_text, content_policy, find_template
from jobs.report.pictures import data_uri, decode_small, encode_jpeg
from jobs.report.views import Counter
from jobs.visible import visible
from jobs.worst_maps import JudgedImage

TEMPLATE = "segmentation.html.j2"
STYLES = (*EVALUATION_STYLES, "gallery.css", "maps.css")
SCRIPTS = ("maps.js",)
MAX_CONFUSED = 30
PICTURE_BYTES = 60_000

ReadImage = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class SegmentationPage:
    """What a page shows.

    Attributes:
        heading: what was measured: a model, or a run.
        data: what it was measured on.
        facts: further names and values.
        warnings: what a reader has to know before trusting the figures.
        speed: counters of it; none of a run.
        labels: names of classes.
        metrics: of all images.
        counts: the confusion matrix.
        worst: images, the worst first.
    """

    heading: str
    data: str
    facts: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    speed: Sequence[Counter]
    labels: tuple[str, ...]
    metrics: SegmentationMetrics
    counts: Counts
    worst: Sequence[JudgedImage]


@dataclass(frozen=True, slots=True)
class MapCard:
    """One image: data URIs of itself and of what lies over it; `picture` is None where `missing` says why."""

    name: str
    note: str
    ratio: float
    picture: str | None
    missing: str
    found: str
    truth: str
    wrong: str


def render_segmentation(page: SegmentationPage, read: ReadImage) -> str:
    """The page as HTML; it refers to nothing outside itself. `read` gives an image of the dataset by name."""
    script = asset_text(SCRIPTS)
    return find_template(TEMPLATE).render(
        title=f"{visible(page.heading)} on {visible(page.data)}",
        kind="evaluation report",
        heading=visible(page.heading),
        policy=content_policy(script),
        style=Markup(asset_text(STYLES)),
        script=Markup(script),
        facts=[("Dataset", visible(page.data)), *page.facts],
        warnings=page.warnings,
        counters=[*_counters(page.metrics), *page.speed],
        summary=_summary(page.metrics),
        classes=_classes(page),
        confusion=_confusion(page),
        confusion_labels=[*map(visible, page.labels)],
        cards=[map_card(image, page.labels, read) for image in page.worst],
    )


def _counters(metrics: SegmentationMetrics) -> list[Counter]:
    return [
        Counter("mIoU", text.share(metrics.mean_iou), "mean over classes"),
        Counter("Dice", text.share(metrics.mean_dice), "mean over classes"),
        Counter("Boundary F1", text.share(metrics.boundary_f1)),
        Counter("Pixel accuracy", text.share(metrics.pixel_accuracy)),
    ]


def _summary(metrics: SegmentationMetrics) -> list[tuple[str, str, str]]:
    rows = [
        ("mIoU", metrics.mean_iou, "mean over classes of intersection over union"),
        (
            "Frequency-weighted IoU",
            metrics.weighted_iou,
            "the same, weighted by the classes' pixels in truth",
        ),
        ("Dice", metrics.mean_dice, "mean over classes of twice the intersection over the sum of areas"),
        ("Boundary F1", metrics.boundary_f1, "within 0.75 % of an image's diagonal"),
        ("Pixel accuracy", metrics.pixel_accuracy, f"of {text.integer(metrics.num_pixels)} judged pixels"),
        ("Mean accuracy", metrics.mean_accuracy, "mean over classes of the share of their pixels found"),
    ]
    return [(name, text.share(value), about) for name, value, about in rows]


def _classes(page: SegmentationPage) -> list[dict[str, str]]:
    metrics, total = page.metrics, int(page.counts.sum())
    rows = zip(
        page.labels,
        class_colors(page.labels),
        metrics.class_iou,
        metrics.class_dice,
        metrics.class_boundary_f1,
        page.counts.sum(axis=1).tolist(),
        strict=True,
    )
    return [
        {
            "name": visible(label),
            "color": color,
            "share": text.percent(pixels, total),
            "iou": text.share(iou),
            "bar": f"{0 if math.isnan(iou) else 100 * iou:.1f}",
            "dice": text.share(dice),
            "boundary": text.share(boundary),
        }
        for label, color, iou, dice, boundary, pixels in rows
    ]


def _confusion(page: SegmentationPage) -> list[tuple[str, list[ConfusionCell]]]:
    """Rows of true classes, with cells of what was found there; none where classes are too many to read."""
    if len(page.labels) > MAX_CONFUSED:
        return []
    names = [*map(visible, page.labels)]
    rows = []
    for i, (name, counts) in enumerate(zip(names, page.counts.tolist(), strict=True)):
        total = sum(counts) or 1
        cells = [
            ConfusionCell(count, count / total, i == j, f"{name} as {names[j]}")
            for j, count in enumerate(counts)
        ]
        rows.append((name, cells))
    return rows


def map_card(image: JudgedImage, labels: tuple[str, ...], read: ReadImage) -> MapCard:
    """One image with its maps; a picture that cannot be had costs its place alone."""
    picture, missing = None, ""
    try:
        small = decode_small(read(image.name), width=image.width, height=image.height, limits=DecodeLimits())
        picture = data_uri(encode_jpeg(small, max_bytes=PICTURE_BYTES), "jpeg")
    except (VeedorError, OSError) as error:
        missing = visible(f"The picture cannot be shown: {error}")
    return MapCard(
        name=visible(image.name),
        note=f"IoU {image.iou:.3f}, {100 * image.error:.1f}% of pixels wrong",
        ratio=image.width / image.height,
        picture=picture,
        missing=missing,
        found=map_uri(image.found, labels),
        truth=map_uri(image.truth, labels),
        wrong=wrong_uri(image.truth, image.found),
    )
