"""`veedor compare`: several detectors on one split of a dataset."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.exits import EXIT_FAILED, usage_errors
from cluster.options import Endpoint, Json, Profile, Region, SpeedSeconds


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Detectors: names of the catalogue, checkpoints, or --out folders of veedor train."
        ),
    ],
    data: Annotated[str, typer.Option(help="A dataset of boxes, whose classes all of them know.")],
    split: Annotated[str, typer.Option(help="Of --data; all for everything.")] = "test",
    weights: Annotated[
        list[str] | None,
        typer.Option(help="MODEL=FILE, for a model that is named without its weights; repeat."),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(help="MODEL=FILE with names of its classes, where it has none; repeat."),
    ] = None,
    speed_s: SpeedSeconds = 20.0,
    out: Annotated[
        str | None,
        typer.Option(
            help="Folder for comparison.html, .md and .json; it grows with each model that is measured."
        ),
    ] = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Measure several detectors on one dataset: precision, speed and size side by side.

    A model that fails is said in the table, the others are measured, and the exit code is 1.
    """
    from cluster.comparing import run_comparison
    from jobs.storage import Access

    with usage_errors(as_json=as_json):
        failed = run_comparison(
            models,
            data,
            split=split,
            weights=weights or [],
            labels=labels or [],
            speed_s=speed_s,
            out=out,
            access=Access(profile, endpoint_url, region),
            as_json=as_json,
        )
    if failed:
        raise typer.Exit(EXIT_FAILED)
