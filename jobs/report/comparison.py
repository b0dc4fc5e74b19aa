"""A comparison of detectors as a table, in Markdown, and as a page with precision over speed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from cvcore.detect.cost import ModelCost
from jobs.report import text
from jobs.report.colors import label_color
from jobs.report.page import EVALUATION_STYLES, asset_text, content_policy, find_template
from jobs.report.plot import Axis, Mark, Plot, draw_plot, fit_axis
from jobs.storage import base_name
from jobs.train_state import CHECKPOINT_NAME
from jobs.visible import visible

if TYPE_CHECKING:
    from jobs.compare_models import Compared, Comparison
    from jobs.evaluate_model import ModelEvaluation

TEMPLATE = "comparison.html.j2"
DASH = "–"
SCATTER_HEADROOM = 0.15


@dataclass(frozen=True, slots=True)
class Column:
    """One column beside the name: its title, what it says of a model, and what the title means."""

    title: str
    read: Callable[[ModelEvaluation], str]
    about: str = ""


def _speed(number: Callable[[ModelEvaluation], str]) -> Callable[[ModelEvaluation], str]:
    return lambda found: number(found) if found.speed is not None else DASH


def _boxes(cost: ModelCost) -> str:
    return DASH if cost.num_boxes is None else text.integer(cost.num_boxes)


def _best_rate(found: ModelEvaluation) -> str:
    assert found.speed is not None
    return text.decimal(found.speed.best.images_per_s)


def _single_rate(found: ModelEvaluation) -> str:
    assert found.speed is not None
    return text.decimal(found.speed.single.images_per_s)


def _p99(found: ModelEvaluation) -> str:
    assert found.speed is not None
    return text.decimal(1000 * found.speed.single.latency_p99_s)


def _batch(found: ModelEvaluation) -> str:
    assert found.speed is not None
    return str(found.speed.best.batch_size)


COLUMNS = (
    Column("mAP@0.5", lambda found: text.share(found.quality.metrics.ap50), "COCO's AP50"),
    Column("AP", lambda found: text.share(found.quality.metrics.ap), "COCO: mean over IoU 0.5 to 0.95"),
    Column("VOC07", lambda found: text.share(found.quality.voc.map07), "11 points, at an IoU of 0.5"),
    Column("FPS", _speed(_single_rate), "images a second, one at a time"),
    Column("p99 ms", _speed(_p99), "of one image at a time"),
    Column("FPS, batch", _speed(_best_rate), "images a second, in batches of the size beside it"),
    Column("batch", _speed(_batch), "the size that is fastest here"),
    Column("boxes", lambda found: _boxes(found.cost), "an image, before scores and suppression"),
    Column("input", lambda found: f"{found.input_spec.width}x{found.input_spec.height}", "canvas, pixels"),
    Column("params", lambda found: f"{found.cost.num_parameters / 1e6:,.2f} M"),
    Column("ops", lambda found: f"{found.cost.num_operations / 1e9:,.2f} G", "an image; a multiply-add is 2"),
)


def table_rows(found: Comparison) -> list[list[str]]:
    """A row a model, as `COLUMNS` say; of one that failed, its name and dashes."""
    names = short_names([row.name for row in found.rows])
    return [[name, *_figures(row)] for name, row in zip(names, found.rows, strict=True)]


def short_names(names: Sequence[str]) -> list[str]:
    """Names of the catalogue as they are, of files and folders their ends, as far as these differ."""
    ends = [_end(name) for name in names]
    return [visible(end if ends.count(end) == 1 else name) for name, end in zip(names, ends, strict=True)]


def _end(name: str) -> str:
    folder, _, last = name.rstrip("/").rpartition("/")
    return base_name(folder) if last == CHECKPOINT_NAME and folder else last


def _figures(row: Compared) -> list[str]:
    if row.found is None:
        return ["failed", *[DASH] * (len(COLUMNS) - 1)]
    return [column.read(row.found) for column in COLUMNS]


def render_markdown(found: Comparison) -> str:
    """The table as Markdown, with what the titles mean, and errors below."""
    lines = [
        f"# Detectors on {_plain(found.caption)}",
        "",
        "| method | " + " | ".join(column.title for column in COLUMNS) + " |",
        "|---" + "|---:" * len(COLUMNS) + "|",
        *("| " + " | ".join(map(_plain, cells)) + " |" for cells in table_rows(found)),
        "",
        *(f"* {column.title}: {column.about}" for column in COLUMNS if column.about),
        *(f"* {_plain(row.name)} failed: {_plain(row.error)}" for row in found.rows if row.found is None),
    ]
    return "\n".join(lines) + "\n"


def _plain(cell: str) -> str:
    """Text that stays in its cell and is no markup."""
    return visible(cell).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def render_comparison(found: Comparison) -> str:
    """The page as HTML; it refers to nothing outside itself and runs nothing."""
    failed = [row for row in found.rows if row.found is None]
    return find_template(TEMPLATE).render(
        title=f"Detectors on {visible(found.data)}",
        kind="comparison of detectors",
        heading=f"{len(found.rows)} detectors",
        policy=content_policy(""),
        style=Markup(asset_text(EVALUATION_STYLES)),
        facts=[
            ("Dataset", visible(found.data)),
            ("Split", visible(found.split)),
            ("Images", text.integer(found.num_images)),
            ("Objects", text.integer(found.num_objects)),
        ],
        warnings=[f"{visible(row.name)} failed: {visible(row.error)}" for row in failed],
        counters=[],
        scatter=scatter_plot(found),
        columns=COLUMNS,
        rows=list(zip(found.rows, table_rows(found), strict=True)),
    )


def scatter_plot(found: Comparison) -> Plot | None:
    """mAP at 0.5 over images a second in the best batch; None where nothing was timed."""
    marks = []
    names = short_names([row.name for row in found.rows])
    for k, (name, row) in enumerate(zip(names, found.rows, strict=True)):
        if row.found is None or row.found.speed is None:
            continue
        best, ap50 = row.found.speed.best, row.found.quality.metrics.ap50
        title = f"{row.name}: mAP@0.5 {ap50:.3f}, {best.images_per_s:.1f} images/s"
        marks.append(Mark(name, visible(title), label_color(k), best.images_per_s, ap50))
    if not marks:
        return None
    return draw_plot(
        "Precision over speed",
        marks=marks,
        x_label="images/s in the best batch",
        note="mAP@0.5",
        x=fit_axis([mark.x for mark in marks], log=True, headroom=SCATTER_HEADROOM),
        y=_precision_axis([mark.y for mark in marks]),
    )


def _precision_axis(values: Sequence[float]) -> Axis:
    """Around the values, at least a fifth of what is possible, and not beyond it."""
    known = [value for value in values if value == value] or [0.0, 1.0]
    room = max(0.1, 0.2 * (max(known) - min(known)))
    return Axis(max(0.0, min(known) - room), min(1.0, max(known) + room))
