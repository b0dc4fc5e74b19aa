"""The commands about anomalies: `calibrate`, `scan`, `threshold`."""

from __future__ import annotations

import signal
from typing import Annotated, Any

import typer

from cluster.exits import EXIT_ANOMALIES, EXIT_FAILED, EXIT_INTERRUPTED, interrupt, usage_errors
from cluster.job_commands import run_content
from cluster.options import (
    Actors,
    Address,
    BatchSize,
    DryRun,
    Endpoint,
    Exclude,
    Fps,
    GpusPerActor,
    Include,
    Json,
    Keyframes,
    MaxFailedFraction,
    Out,
    Profile,
    Region,
    Stride,
    Verbose,
    resources_content,
    source_content,
    storage_content,
)

Trained = Annotated[str, typer.Option(help="The --out of veedor train, or its .safetensors file.")]


def calibrate(
    model: Annotated[str, typer.Argument(help="The --out of veedor train.")],
    normal: Annotated[
        str, typer.Option(help="Folder or s3://bucket/prefix/ of normal images that no training saw.")
    ],
    target_fpr: Annotated[
        float, typer.Option(help="Share of normal images that may be called anomalous.")
    ] = 0.01,
    score: Annotated[
        str | None,
        typer.Option(
            help="mse, mae, ssim, mahalanobis, neighbors; of a vae probability, elbo; of patchcore patches."
        ),
    ] = None,
    sigma: Annotated[float, typer.Option(help="Smoothing of heat maps, canvas pixels.")] = 2.0,
    reduction: Annotated[
        str, typer.Option(help="From a map to a score: max, mean, or top1, the mean of the worst hundredth.")
    ] = "top1",
    neighbors: Annotated[int, typer.Option(help="Of the score neighbors.")] = 5,
    robust: Annotated[
        bool, typer.Option("--robust", help="Leave out images that look odd among the others.")
    ] = False,
    include: Include = None,
    exclude: Exclude = None,
    actors: Actors = None,
    gpus_per_actor: GpusPerActor = None,
    batch_size: BatchSize = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    address: Address = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Learn what a model's scores of normal images are, and from which score on something is an anomaly."""
    content: dict[str, Any] = {
        "job": "calibrate",
        "source": source_content(normal, include, exclude, media="images"),
        "model": {"name": model},
        "score": {"name": score, "sigma": sigma, "reduction": reduction, "neighbors": neighbors},
        "target_fpr": target_fpr,
        "robust": robust,
        "storage": storage_content(profile, endpoint_url, region),
        "resources": resources_content(actors, gpus_per_actor, batch_size),
        "sink": {"uri": model},
    }
    from cluster.calibrating import run_calibration

    signal.signal(signal.SIGTERM, interrupt)
    try:
        with usage_errors(as_json=as_json):
            run_calibration(content, address=address, as_json=as_json, verbose=verbose)
    except KeyboardInterrupt as error:
        typer.echo("interrupted: run the same command again to continue", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from error


def scan(
    source: Annotated[str, typer.Argument(help="Folder or s3://bucket/prefix/ of images and videos.")],
    model: Trained,
    out: Out,
    calibration: Annotated[
        str | None, typer.Option(help="Another calibration than the one beside the model.")
    ] = None,
    heatmap_score: Annotated[
        float, typer.Option(help="Keep heat maps from this score on, 0 (all) to 1; of anomalies always.")
    ] = 0.95,
    alert: Annotated[
        str | None,
        typer.Option(help="https address told of each scan's anomalies; signed with $VEEDOR_ALERT_SECRET."),
    ] = None,
    alert_file: Annotated[
        str | None, typer.Option(help="Local file that a JSON line is appended to for each anomaly.")
    ] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 4 if the scan found anomalies.")
    ] = False,
    include: Include = None,
    exclude: Exclude = None,
    fps: Fps = None,
    stride: Stride = None,
    keyframes: Keyframes = False,
    actors: Actors = None,
    gpus_per_actor: GpusPerActor = None,
    batch_size: BatchSize = None,
    max_failed_fraction: MaxFailedFraction = 1.0,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    address: Address = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Score what no scan into --out has seen: every version of every object below SOURCE, once."""
    from jobs.alerts import AlertSettings

    content: dict[str, Any] = {
        "job": "scan",
        "source": source_content(source, include, exclude),
        "video": {"fps": fps, "stride": stride, "keyframes": keyframes},
        "model": {"name": model},
        "calibration": calibration,
        "scan": {"heatmap_score": heatmap_score},
        "storage": storage_content(profile, endpoint_url, region),
        "resources": resources_content(actors, gpus_per_actor, batch_size),
        "limits": {"max_failed_fraction": max_failed_fraction},
        "sink": {"uri": out},
    }
    result = run_content(
        content,
        address=address,
        dry_run=dry_run,
        as_json=as_json,
        verbose=verbose,
        alerts=AlertSettings(alert, alert_file),
    )
    if result is None:
        return
    found = result.manifest["scan"]
    if found["alert_problems"]:
        raise typer.Exit(EXIT_FAILED)
    if exit_code and found["anomalies"]:
        raise typer.Exit(EXIT_ANOMALIES)


def threshold(
    scans: Annotated[str, typer.Argument(help="The --out of veedor scan.")],
    fpr: Annotated[float, typer.Option(help="Share of normal images that may be called anomalous.")],
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
) -> None:
    """Decide again which inputs of past scans, and of those to come, are anomalies; scores stay."""
    from jobs.decisions import decide_again
    from jobs.storage import Access

    with usage_errors():
        found = decide_again(scans, fpr, access=Access(profile, endpoint_url, region))
    for each in found:
        share = f"{each.num_anomalies:,} of {each.num_scored:,}"
        typer.echo(f"scan {each.number}: {share} above {each.threshold.raw:.4g}")
    warnings = {warning for each in found if (warning := each.threshold.warning())}
    for warning in sorted(warnings):
        typer.echo(f"Warning: {warning}")
