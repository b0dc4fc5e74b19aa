"""`veedor train`: a line an epoch, and where the checkpoint is."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import typer

from cluster.console import open_display
from jobs.outcome import JobFailed
from jobs.spec import validate_spec
from jobs.train import TrainingError, run_train
from jobs.train_spec import EpochRecord, TrainSpec

EXIT_FAILED = 1


def run_training(content: dict[str, Any], *, address: str | None, as_json: bool, verbose: bool) -> None:
    """Train, telling of each epoch as it ends.

    Raises:
        SpecError: for settings or data that cannot be trained with.
        typer.Exit: with 1 when the workers failed.
    """
    spec = validate_spec(content, TrainSpec, name="the command line")
    display = open_display(as_json=as_json)

    def tell(record: EpochRecord) -> None:
        text = (
            f"epoch {record.epoch + 1:>3}/{spec.epochs}  loss {record.loss:.3f}  "
            f"held-out mAP@0.5 {record.ap50:.3f}  mAP@[0.5:0.95] {record.ap:.3f}"
        )
        display.step(text, **asdict(record))

    try:
        result = run_train(spec, address=address, verbose=verbose, on_epoch=tell)
    except (TrainingError, JobFailed) as error:
        display.error(str(error))
        raise typer.Exit(EXIT_FAILED) from error
    best = result.best
    if as_json:
        typer.echo(json.dumps({"event": "result", "checkpoint": result.checkpoint, **result.summary()}))
        return
    typer.echo(f"Best epoch {best.epoch + 1}: held-out mAP@0.5 {best.ap50:.3f}, mAP@[0.5:0.95] {best.ap:.3f}")
    typer.echo(f"Checkpoint: {result.checkpoint}")
    typer.echo(f"Next:       veedor annotate IMAGES --model {result.checkpoint} --out FOLDER")
