"""`veedor train`: a line an epoch, and where the checkpoint is."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import typer

from cluster.console import open_display
from cluster.exits import EXIT_FAILED
from jobs.outcome import JobFailed
from jobs.train import TrainingError, run_train
from jobs.train_catalog import build_train_spec
from jobs.train_record import EpochRecord, TrainResult
from jobs.train_spec import DatasetTrainSpec, EpochsTrainSpec, TrainSpec

NAMES = {
    "top1": "top-1",
    "top5": "top-5",
    "localization_error": "localisation error",
    "ap50": "mAP@0.5",
    "ap": "mAP@[0.5:0.95]",
    "mask_ap50": "mask mAP@0.5",
    "mask_ap": "mask mAP@[0.5:0.95]",
    "miou": "mIoU",
    "loss": "loss",
}


def run_training(content: dict[str, Any], *, address: str | None, as_json: bool, verbose: bool) -> None:
    """Train, telling of each epoch as it ends.

    Raises:
        SpecError: for settings or data that cannot be trained with.
        typer.Exit: with 1 when the workers failed.
    """
    spec = build_train_spec(content, name="the command line")
    display = open_display(as_json=as_json)
    epochs = spec.epochs if isinstance(spec, EpochsTrainSpec) else 0

    def tell(record: EpochRecord) -> None:
        text = f"epoch {record.epoch + 1:>3}/{epochs}  loss {record.loss:.4g}  held-out {_held_out(record)}"
        display.step(text, **asdict(record))

    try:
        result = run_train(spec, address=address, verbose=verbose, on_epoch=tell)
    except (TrainingError, JobFailed) as error:
        display.error(str(error))
        raise typer.Exit(EXIT_FAILED) from error
    if as_json:
        typer.echo(json.dumps({"event": "result", "checkpoint": result.checkpoint, **result.summary()}))
        return
    typer.echo("\n".join(_last_words(spec, result)))


def _held_out(record: EpochRecord) -> str:
    known = {title: record.held_out[name] for name, title in NAMES.items() if name in record.held_out}
    return "  ".join(f"{title} {value:.4g}" for title, value in known.items())


def _last_words(spec: TrainSpec, result: TrainResult) -> list[str]:
    lines = []
    if result.history:
        best = result.best
        lines.append(f"Best epoch {best.epoch + 1} of {len(result.history)}: held-out {_held_out(best)}")
    if "patches" in result.details:
        lines.append(f"{result.details['patches']:,} patches of normal images are remembered")
    if "started" in result.details:
        lines.append(result.details["started"])
    data = result.details.get("data")
    if data:
        failed = sum(data["failures"].values())
        lines.append(
            f"Learned from {data['images']:,} images"
            + (f", but {failed:,} of them that could not be used" if failed else "")
        )
        if data.get("left_out"):
            reasons = ", ".join(f"{number:,} with {why}" for why, number in sorted(data["left_out"].items()))
            lines.append(f"Left out of them: {reasons} (--boxes largest takes the largest of several)")
    lines.append(f"Checkpoint: {result.checkpoint}")
    if result.history:
        lines.append(f"Curves:     veedor report {spec.out}")
    if isinstance(spec, DatasetTrainSpec):
        lines.append(f"Next:       veedor annotate IMAGES --model {result.checkpoint} --out FOLDER")
    else:
        lines.append(f"Next:       veedor calibrate {spec.out} --normal OTHER_NORMAL_IMAGES")
    return lines
