"""The commands that run jobs: `annotate`, `track`, and `run` for a spec file."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.exits import interrupt, usage_errors
from cluster.job_ending import end_content
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
    Labels,
    Maps,
    MaxDetections,
    MaxFailedFraction,
    MaxPixels,
    MinScore,
    Model,
    NmsIou,
    Out,
    Overlap,
    Profile,
    Region,
    Sha256,
    Stream,
    Stride,
    Tile,
    TopK,
    Verbose,
    Weights,
    resources_content,
    source_content,
    storage_content,
)
from cluster.spec_file import read_spec_file

if TYPE_CHECKING:
    from cluster.console import Display
    from jobs.outcome import RunResult


def annotate(
    source: Annotated[str, typer.Argument(help="Folder or s3://bucket/prefix/ of images and videos.")],
    out: Out,
    model: Model = "tiny",
    weights: Weights = None,
    sha256: Sha256 = None,
    labels: Labels = None,
    min_score: MinScore = 0.25,
    nms_iou: NmsIou = 0.45,
    max_detections: MaxDetections = 100,
    top_k: TopK = 5,
    tile: Tile = None,
    overlap: Overlap = 64,
    maps: Maps = None,
    max_pixels: MaxPixels = None,
    include: Include = None,
    exclude: Exclude = None,
    fps: Fps = None,
    stride: Stride = None,
    keyframes: Keyframes = False,
    stream: Stream = None,
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
    """Annotate every image and frame below SOURCE: one Parquet row for each.

    Objects are found in it, or it is classified, or each of its pixels is: as the model does.
    """
    limits: dict[str, Any] = {"max_failed_fraction": max_failed_fraction}
    if max_pixels is not None:
        limits["max_pixels"] = max_pixels
    media = {} if tile is None else {"media": "images"}
    content = {
        "source": source_content(source, include, exclude, **media),
        "video": {"fps": fps, "stride": stride, "keyframes": keyframes, "stream": stream},
        "model": {"name": model, "weights": weights, "sha256": sha256, "labels": labels},
        "annotate": {
            "min_score": min_score,
            "nms_iou": nms_iou,
            "max_detections": max_detections,
            "top_k": top_k,
            "tile": tile,
            "overlap": overlap,
        },
        "storage": storage_content(profile, endpoint_url, region),
        "resources": resources_content(actors, gpus_per_actor, batch_size),
        "limits": limits,
        "sink": {"uri": out},
    }
    result = run_content(
        content, address=address, dry_run=dry_run, as_json=as_json, verbose=verbose, maps=maps is not None
    )
    if result is None or maps is None:
        return
    from jobs.pictures import write_pictures
    from jobs.storage import Access

    with usage_errors(as_json=as_json):
        access = Access(profile, endpoint_url, region)
        written = write_pictures(out, maps, "map", lambda row: bytes(row["map"]), access=access)
    if not as_json:
        typer.echo(f"{written.num_images:,} maps: {written.uri}")


def track(
    out: Out,
    source: Annotated[
        str | None, typer.Argument(help="Folder or s3://bucket/prefix/ of videos to detect in.")
    ] = None,
    detections: Annotated[
        str | None, typer.Option(help="Instead of SOURCE: a finished annotate run, to track it (again).")
    ] = None,
    tracker: Annotated[str, typer.Option(help="bytetrack or sort.")] = "bytetrack",
    track_score: Annotated[
        float | None,
        typer.Option(help="Begin tracks at surer detections alone; lower it for a detector that is unsure."),
    ] = None,
    interpolate_gap: Annotated[
        int, typer.Option(help="Fill gaps in tracks of at most so many frames with boxes.")
    ] = 0,
    model: Model = "tiny",
    weights: Weights = None,
    sha256: Sha256 = None,
    labels: Labels = None,
    min_score: MinScore = 0.1,
    nms_iou: NmsIou = 0.45,
    max_detections: MaxDetections = 100,
    include: Include = None,
    exclude: Exclude = None,
    fps: Fps = None,
    stride: Stride = None,
    stream: Stream = None,
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
    """Follow objects through the videos below SOURCE, or through a run's detections.

    The parameters of the trackers stand in a spec file, under `track`.
    """
    content: dict[str, Any] = {
        "job": "track",
        "detections": detections,
        "track": {"tracker": tracker, "interpolate_gap": interpolate_gap, **_surer(track_score)},
        "storage": storage_content(profile, endpoint_url, region),
        "limits": {"max_failed_fraction": max_failed_fraction},
        "sink": {"uri": out},
    }
    if source is not None:
        content |= {
            "source": source_content(source, include, exclude),
            "video": {"fps": fps, "stride": stride, "stream": stream},
            "model": {"name": model, "weights": weights, "sha256": sha256, "labels": labels},
            "annotate": {"min_score": min_score, "nms_iou": nms_iou, "max_detections": max_detections},
            "resources": resources_content(actors, gpus_per_actor, batch_size),
        }
    run_content(content, address=address, dry_run=dry_run, as_json=as_json, verbose=verbose)


def _surer(track_score: float | None) -> dict[str, Any]:
    """Both trackers' options from one score; ByteTrack's authors begin tracks 0.1 above `high_score`."""
    if track_score is None:
        return {}
    bytetrack = {"high_score": track_score, "new_track_score": min(1.0, track_score + 0.1)}
    lowest = min(0.1, track_score)
    return {"bytetrack": bytetrack | {"low_score": lowest}, "sort": {"min_score": track_score}}


def run(
    spec: Annotated[Path, typer.Argument(help="YAML or JSON job spec.")],
    address: Address = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Run a job from a spec file; the same file runs on a laptop and on a cluster."""
    with usage_errors(as_json=as_json):
        content = read_spec_file(spec)
    run_content(content, name=str(spec), address=address, dry_run=dry_run, as_json=as_json, verbose=verbose)


def run_content(
    content: dict[str, Any],
    *,
    address: str | None,
    dry_run: bool,
    as_json: bool,
    verbose: bool,
    name: str = "the command line",
    display: Display | None = None,
    **more: Any,
) -> RunResult | None:
    """Run the job of a spec's content, tell of it, and exit with its code where it is not 0.

    `display` is told in place of the one that fits the output. `more` goes to the job beside its spec: what
    no record may hold. A dry run has no result.
    """
    signal.signal(signal.SIGTERM, interrupt)
    ending = end_content(
        content,
        address=address,
        dry_run=dry_run,
        as_json=as_json,
        verbose=verbose,
        name=name,
        display=display,
        **more,
    )
    if ending.exit_code:
        raise typer.Exit(ending.exit_code)
    return ending.result
