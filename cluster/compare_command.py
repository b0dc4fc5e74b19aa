"""`veedor compare`: several detectors on one split of a dataset, or two runs over the same images."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.exits import EXIT_FAILED, usage_errors
from cluster.options import Endpoint, Json, Profile, Region, SpeedSeconds


def compare(
    what: Annotated[
        list[str],
        typer.Argument(
            help="Two runs; or, with --data, detectors: names of the catalogue, checkpoints, or --out "
            "folders of veedor train."
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(help="Of detectors: a dataset of boxes, whose classes all of them know."),
    ] = None,
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
    label: Annotated[
        list[str] | None, typer.Option("--label", help="Of runs: of this label alone; may repeat.")
    ] = None,
    min_score: Annotated[
        float, typer.Option(min=0, max=1, help="Of runs: detections with at least this score.")
    ] = 0.0,
    iou: Annotated[float, typer.Option(help="Of runs: boxes of one object overlap so far.")] = 0.5,
    partial: Annotated[
        bool, typer.Option("--partial", help="Of runs: also ones that are not finished.")
    ] = False,
    out: Annotated[
        str | None,
        typer.Option(
            help="Folder for comparison.html and .json, of detectors also .md: it grows with each that is "
            "measured."
        ),
    ] = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Say where two runs differ, or measure several detectors on one dataset.

    Of two runs: what both found, only one, or under another label, by label and with pictures. With --data:
    precision, speed and size of models side by side; a model that fails is said in the table, the others are
    measured, and the exit code is 1.
    """
    from cluster.comparing_runs import are_runs, run_runs_comparison
    from jobs.compare_runs import Options
    from jobs.export.rows import Choice
    from jobs.storage import Access

    access = Access(profile, endpoint_url, region)
    failed = False
    with usage_errors(as_json=as_json):
        if are_runs(what, access, data=data):
            options = Options(Choice(tuple(label or ()), min_score), iou, partial)
            run_runs_comparison(what[0], what[1], options, out=out, access=access, as_json=as_json)
            return
        assert data is not None
        from cluster.comparing import run_comparison  # imports torch

        failed = run_comparison(
            what,
            data,
            split=split,
            weights=weights or [],
            labels=labels or [],
            speed_s=speed_s,
            out=out,
            access=access,
            as_json=as_json,
        )
    if failed:
        raise typer.Exit(EXIT_FAILED)
