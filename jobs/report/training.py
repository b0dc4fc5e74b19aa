"""The page of a training run, and its curves, which the report of scans shows too."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from cvcore.errors import SpecError, WeightsError
from jobs.report import text
from jobs.report.colors import label_color
from jobs.report.page import PLOT_STYLES, asset_text, content_policy, find_template
from jobs.report.plot import Axis, Plot, Series, draw_plot
from jobs.report.views import Counter
from jobs.run_folder import RunFolder
from jobs.storage import ObjectMissing, Store, base_name, join
from jobs.train_record import HISTORY_NAME, EpochRecord
from jobs.visible import visible

TEMPLATE = "training.html.j2"
NAMES = {
    "ap50": "mAP@0.5",
    "ap75": "mAP@0.75",
    "ap": "mAP@[0.5:0.95]",
    "mask_ap50": "mask mAP@0.5",
    "mask_ap": "mask mAP@[0.5:0.95]",
}
"""What figures are called where their own names do not say it."""
SETTINGS = {
    "batch_size": "Batch size",
    "lr": "Peak learning rate",
    "input_size": "Canvas",
    "precision": "Precision",
    "seed": "Seed",
    "num_workers": "Workers",
}
"""Of a recipe, what the page's head says."""
LOWER_IS_BETTER = "loss"
"""A held-out figure; all others are better the higher they are."""


def is_training_folder(uri: str, store: Store) -> bool:
    """Whether `veedor train` wrote there, in epochs."""
    return store.exists(join(uri, HISTORY_NAME)) and not store.exists(RunFolder(uri).job)


def read_record(uri: str, store: Store) -> tuple[EpochRecord, ...]:
    """The epochs that a training run's folder tells of.

    Raises:
        SpecError: if they cannot be read.
    """
    location = join(uri, HISTORY_NAME)
    try:
        return tuple(EpochRecord(**record) for record in json.loads(store.read(location)))
    except (ValueError, TypeError) as error:
        raise SpecError(f"{location} is no history of a training run: {error}") from error


def build_training_report(uri: str, *, store: Store) -> str:
    """One HTML page that refers to nothing outside itself.

    Raises:
        SpecError: for a folder without a finished epoch.
    """
    history = read_record(uri, store)
    if not history:
        raise SpecError(f"{uri} holds no finished epoch yet")
    about = _about(uri, store)
    training = about.get("training", {})
    best = best_epoch(history)
    kept = history[best]
    columns, rows = _table(history)
    per_class = training.get("held_out", {}).get("per_class_ap50", {})
    name = visible(str(about.get("model") or base_name(uri)))
    return find_template(TEMPLATE).render(
        title=f"Training of {name}",
        kind="training report",
        heading=name,
        policy=content_policy(""),
        style=Markup(asset_text(PLOT_STYLES)),
        facts=_facts(uri, about),
        warnings=_warnings(history, training),
        counters=[
            Counter("Epochs", text.integer(len(history)), _planned(training)),
            Counter("Kept", f"epoch {best + 1}"),
            Counter("Loss", f"{kept.loss:.4g}", "of that epoch"),
            *(Counter(f"Held-out {NAMES.get(k, k)}", f"{v:.4g}") for k, v in kept.held_out.items()),
        ],
        curves=training_plots(history),
        classes=[(visible(label), f"{value:.3f}") for label, value in per_class.items()],
        columns=columns,
        rows=rows,
        recipe=json.dumps(training.get("recipe"), indent=2) if training.get("recipe") else "",
    )


def best_epoch(history: Sequence[EpochRecord]) -> int:
    """The epoch that was kept: of the lowest held-out loss, or the highest of detectors' mAP at 0.5.

    Of detectors with masks, that is the masks'.
    """
    if LOWER_IS_BETTER in history[0].held_out:
        return min(range(len(history)), key=lambda k: history[k].held_out[LOWER_IS_BETTER])
    known = history[0].held_out
    name = next((each for each in ("mask_ap50", "ap50") if each in known), next(iter(known)))
    # NaN is never the best; `max` keeps the first of equals.
    return max(range(len(history)), key=lambda k: _known(history[k].held_out[name]))


def training_plots(history: Sequence[EpochRecord]) -> list[Plot]:
    """Losses, held-out figures and, where it was kept, the learning rate, by epoch."""
    found = [_loss_plot(history), held_out_plot(history)]
    if any(each.learning_rate is not None for each in history):
        rates = _by_epoch("learning rate", 0, [each.learning_rate for each in history])
        found.append(draw_plot("Learning rate", [rates], x_label="epoch", x=_epochs(history)))
    return found


def held_out_plot(history: Sequence[EpochRecord]) -> Plot:
    """Held-out figures by epoch; a line stands at the epoch that was kept."""
    names = list(history[0].held_out)
    series = [
        _by_epoch(NAMES.get(name, name), k, [each.held_out.get(name) for each in history])
        for k, name in enumerate(names)
    ]
    return draw_plot(
        "Held-out figures",
        series,
        x_label="epoch",
        note=f"epoch {best_epoch(history) + 1} was kept",
        x=_epochs(history),
        y=None if LOWER_IS_BETTER in names else Axis(0.0, 1.0),
        rule=best_epoch(history) + 1,
    )


def _loss_plot(history: Sequence[EpochRecord]) -> Plot:
    terms = list(history[0].terms)
    series = [_by_epoch("total" if terms else "loss", 0, [each.loss for each in history])]
    series += [
        _by_epoch(name, k, [each.terms.get(name) for each in history])
        for k, name in enumerate(terms, start=1)
    ]
    return draw_plot("Training loss", series, x_label="epoch", x=_epochs(history))


def _by_epoch(name: str, color: int, values: Sequence[float | None]) -> Series:
    points = [(k + 1.0, math.nan if value is None else value) for k, value in enumerate(values)]
    return Series(visible(name), label_color(color), points)


def _epochs(history: Sequence[EpochRecord]) -> Axis:
    return Axis(1.0, float(max(2, len(history))), whole=True)


def _known(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def _about(uri: str, store: Store) -> dict[str, Any]:
    """What the checkpoint says of itself; nothing where there is none."""
    from cvcore.checkpoint import read_about  # imports torch
    from jobs.train_state import CHECKPOINT_NAME

    try:
        with store.open(join(uri, CHECKPOINT_NAME)) as file:
            return read_about(file)
    except (ObjectMissing, WeightsError):
        return {}


def _facts(uri: str, about: dict[str, Any]) -> list[tuple[str, str]]:
    recipe = about.get("training", {}).get("recipe", {})
    labels = [visible(str(label)) for label in about.get("labels", ())]
    named = [(title, recipe.get(name)) for name, title in SETTINGS.items()]
    return [
        ("Folder", visible(uri)),
        *((title, str(value)) for title, value in named if value is not None),
        *([("Labels", f"{len(labels)}: {', '.join(labels)}")] if labels else []),
    ]


def _planned(training: dict[str, Any]) -> str:
    epochs = training.get("recipe", {}).get("epochs")
    return f"of {epochs}" if epochs else ""


def _warnings(history: Sequence[EpochRecord], training: dict[str, Any]) -> list[str]:
    recipe = training.get("recipe", {})
    failures = training.get("held_out", {}).get("data", {}).get("failures", {})
    found = []
    if recipe.get("epochs", 0) > len(history) and recipe.get("patience") is None:
        found.append("This run is not finished: the same command continues it.")
    if failures:
        reasons = ", ".join(f"{count:,} {code}" for code, count in sorted(failures.items()))
        found.append(f"Images that could not be used: {reasons}.")
    return found


def _table(history: Sequence[EpochRecord]) -> tuple[list[str], list[list[str]]]:
    terms, figures = list(history[0].terms), list(history[0].held_out)
    columns = ["epoch", "learning rate", "loss", *terms, *(f"held-out {NAMES.get(f, f)}" for f in figures)]
    rows = []
    for each in history:
        values = [
            each.learning_rate,
            each.loss,
            *map(each.terms.get, terms),
            *map(each.held_out.get, figures),
        ]
        rows.append([str(each.epoch + 1), *("–" if value is None else f"{value:.4g}" for value in values)])
    return [visible(name) for name in columns], rows
