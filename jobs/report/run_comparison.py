"""Two runs side by side as a page: what they agree on, by label, and the greatest differences as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup
from PIL import Image

from cvcore.draw import DrawnBox
from cvcore.errors import VeedorError
from jobs.report import text
from jobs.report.cards import display_name, short_name
from jobs.report.crops import FOUND, PICTURE_BYTES, TRUE, ErrorCard, draw_crop
from jobs.report.page import EVALUATION_STYLES, asset_text, content_policy, find_template
from jobs.report.pictures import data_uri, encode_jpeg
from jobs.report.row_pictures import RowPictures
from jobs.report.views import Chart, Counter, bars
from jobs.storage import base_name
from jobs.visible import visible

if TYPE_CHECKING:
    from jobs.compare_runs import Example, Kind, LabelAgreement, RunComparison
    from jobs.export.rows import Found

TEMPLATE = "run_comparison.html.j2"
MAX_LABELS, MAX_SWAPS = 30, 20


def render_run_comparison(found: RunComparison, pictures: RowPictures | None) -> str:
    """The page as HTML; it refers to nothing outside itself and runs nothing.

    Args:
        found: the comparison.
        pictures: of the first run's rows; None shows none.
    """
    first, second = run_names(found)
    return find_template(TEMPLATE).render(
        title=f"{first} and {second}",
        kind="comparison of runs",
        heading=f"{first} and {second}",
        policy=content_policy(""),
        style=Markup(asset_text(EVALUATION_STYLES)),
        facts=[
            ("First", visible(found.one)),
            ("Second", visible(found.other)),
            ("First model", visible(found.models[0])),
            ("Second model", visible(found.models[1])),
            ("One object from an IoU of", f"{found.min_iou:g}"),
        ],
        warnings=_warnings(found),
        counters=_counters(found),
        columns=("first", "second", "both", "other label", "only first", "only second", "IoU", "Δ score"),
        rows=[_label_row(visible(label), each) for label, each in list(found.labels.items())[:MAX_LABELS]],
        total=_label_row("all", found.total) if len(found.labels) > 1 else None,
        more_labels=max(0, len(found.labels) - MAX_LABELS),
        swaps=[
            (visible(one), visible(other), count)
            for (one, other), count in found.swaps.most_common(MAX_SWAPS)
        ],
        more_swaps=max(0, len(found.swaps) - MAX_SWAPS),
        charts=_charts(found),
        shelves=[
            (*_SHELVES[kind], [example_card(each, pictures) for each in examples])
            for kind, examples in found.examples.items()
        ],
    )


_SHELVES: dict[Kind, tuple[str, str]] = {
    "only_one": ("Only in the first", "the highest scores first"),
    "only_other": ("Only in the second", "the highest scores first"),
    "other_label": ("Other label", "the highest scores first; solid is the first run, dashed the second"),
    "score": ("Other score", "one label, the scores furthest apart first"),
    "place": (
        "Other place",
        "one label, the smallest overlap first; solid is the first run, dashed the second",
    ),
}


def run_names(found: RunComparison) -> tuple[str, str]:
    """The last names of the runs' locations, all of these where the last are the same."""
    first, second = base_name(found.one), base_name(found.other)
    if first == second:
        first, second = found.one, found.other
    return visible(first), visible(second)


def table_cells(each: LabelAgreement) -> list[str]:
    """A label's figures, as both tables have them."""
    counts = (each.one, each.other, each.same, each.other_label, each.only_one, each.only_other)
    means = (each.iou / each.same, each.change / each.same) if each.same else (float("nan"),) * 2
    return [*map(text.integer, counts), *map(text.share, means)]


def _label_row(name: str, each: LabelAgreement) -> list[str]:
    return [name, *table_cells(each)]


def _warnings(found: RunComparison) -> list[str]:
    told = [
        (found.changed, "of which the runs saw different versions are not compared."),
        (found.only_in.one, "only in the first run."),
        (found.only_in.other, "only in the second run."),
        (found.failed.one, "that failed in the first run alone."),
        (found.failed.other, "that failed in the second run alone."),
    ]
    return [f"{text.plural(count, 'image')} {line}" for count, line in told if count]


def _counters(found: RunComparison) -> list[Counter]:
    total = found.total
    alike = text.percent(found.num_alike, found.num_images)
    objects = total.same + total.other_label + total.only_one + total.only_other
    return [
        Counter("Images", text.integer(found.num_images), "that both looked at"),
        Counter("Alike", text.integer(found.num_alike), f"{alike} of the images"),
        Counter("Agreed on", text.integer(total.same), f"{text.percent(total.same, objects)} of the objects"),
        Counter("Other label", text.integer(total.other_label)),
        Counter("Only first", text.integer(total.only_one)),
        Counter("Only second", text.integer(total.only_other)),
    ]


def _charts(found: RunComparison) -> list[Chart]:
    quarters = tuple((f"{k / 4:g}", k / 4) for k in range(5))
    halves = tuple((f"{k / 2 - 1:+g}" if k != 2 else "0", k / 4) for k in range(5))
    agreed = "objects agreed on, by"
    higher = f"{agreed} how much higher the second run scores"
    return [
        Chart("ious", "Overlap", f"{agreed} IoU", bars(found.iou_histogram, text.score_bin), quarters),
        Chart("changes", "Scores", higher, bars(found.change_histogram, text.score_bin), halves),
    ]


def example_card(example: Example, pictures: RowPictures | None) -> ErrorCard:
    """A difference as a picture: the first run's box solid, the second's dashed."""
    image = example.image
    boxes = [
        DrawnBox(each.box, "", color, faint=faint)
        for each, color, faint in ((example.one, FOUND, False), (example.other, TRUE, True))
        if each is not None
    ]
    picture, missing = None, ""
    try:
        if pictures is None:
            missing = "This report was made without pictures."
        else:

            def decode(width: int, height: int) -> Image.Image:
                return pictures.open(image, max(width, height))

            shown = draw_crop(decode, boxes, width=image["width"], height=image["height"])
            picture = data_uri(encode_jpeg(shown, max_bytes=PICTURE_BYTES), "jpeg")
    except (VeedorError, OSError) as error:
        missing = visible(str(error))
    title, note = _words(example)
    frame = "" if image["frame_index"] is None else f" #{image['frame_index']}"
    name = short_name(image["uri"]) if image["frame_index"] is None else display_name(image["uri"])
    return ErrorCard(name + frame, title, note, picture, missing)


def _words(example: Example) -> tuple[str, str]:
    """What is said of a difference: its title and a line."""
    one, other = example.one, example.other
    if one is None or other is None:
        only = one or other
        assert only is not None
        return visible(only.label), f"score {_score(only)}"
    label = visible(one.label)
    if one.label != other.label:
        title = f"{label} → {visible(other.label)}"
        return title, f"scores {_score(one)} and {_score(other)}, IoU {example.iou:.2f}"
    if example.kind == "score":
        return label, f"score {_score(one)} → {_score(other)}, IoU {example.iou:.2f}"
    return label, f"IoU {example.iou:.2f}, scores {_score(one)} and {_score(other)}"


def _score(found: Found) -> str:
    return "–" if found.score is None else f"{found.score:.2f}"
