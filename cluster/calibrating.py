"""`veedor calibrate`: what was found, and what to doubt of it."""

from __future__ import annotations

import json
from typing import Any

import typer

from cluster.console import open_display
from cluster.exits import EXIT_FAILED
from cluster.last_words import last_words
from jobs.calibrate import Calibrated, run_calibrate
from jobs.outcome import JobFailed
from jobs.scan_spec import CalibrateSpec
from jobs.spec import validate_spec
from jobs.visible import visible

SHOWN = 5


def run_calibration(content: dict[str, Any], *, address: str | None, as_json: bool, verbose: bool) -> None:
    """Calibrate and tell of it.

    Raises:
        SpecError, ModelError, TooFewNormalsError: for what cannot be calibrated.
        typer.Exit: with 1 when the run failed.
    """
    spec = validate_spec(content, CalibrateSpec, name="the command line")
    display = open_display(as_json=as_json)
    try:
        with last_words(as_json=as_json):
            done = run_calibrate(spec, listener=display, address=address, verbose=verbose)
    except JobFailed as error:
        display.error(str(error))
        raise typer.Exit(EXIT_FAILED) from error
    finally:
        display.close()
    if as_json:
        typer.echo(json.dumps({"event": "result", **_facts(done)}))
    else:
        typer.echo("\n".join(_lines(spec, done)))


def _facts(done: Calibrated) -> dict[str, Any]:
    found = done.threshold
    return {
        "calibration": done.uri,
        "score": done.file.score,
        "normals": found.num_normals,
        "threshold": found.raw,
        "target_fpr": found.target_fpr,
        "fpr_interval": [found.fpr_low, found.fpr_high],
        "warning": found.warning(),
        "odd": list(done.odd),
    }


def _lines(spec: CalibrateSpec, done: Calibrated) -> list[str]:
    found, file = done.threshold, done.file
    lines = [
        f"Score {file.score}: {found.num_normals:,} normal images, from {file.scores[0]:.4g} to "
        f"{file.scores[-1]:.4g}",
        f"Threshold {found.raw:.4g}: {found.target_fpr:.2g} of normal images score above it "
        f"(95 % confidence: {found.fpr_low:.2g} to {found.fpr_high:.2g})",
    ]
    counts = done.result.manifest["counts"]
    if counts["failed"]:
        lines.append(f"Warning: {counts['failed']:,} of {counts['inputs']:,} images could not be used")
    if warning := found.warning():
        lines.append(f"Warning: {warning}")
    if done.odd:
        names = ", ".join(visible(uri) for uri in done.odd[:SHOWN]) + (", …" if len(done.odd) > SHOWN else "")
        advice = "they were left out" if spec.robust else "look at them; --robust leaves them out"
        looks = "looks" if len(done.odd) == 1 else "look"
        lines.append(f"Warning: {len(done.odd):,} {looks} odd among the others ({names}): {advice}")
    lines += [
        f"Calibration: {done.uri}",
        f"Next:        veedor scan IMAGES --model {spec.model.name} --out FOLDER",
    ]
    return lines
