"""The command `segment`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cluster.anomaly_commands import Trained
from cluster.exits import usage_errors
from cluster.job_commands import run_content
from cluster.options import (
    Actors,
    Address,
    BatchSize,
    DryRun,
    Endpoint,
    Exclude,
    GpusPerActor,
    Include,
    Json,
    MaxFailedFraction,
    Out,
    Profile,
    Region,
    Verbose,
    resources_content,
    source_content,
    storage_content,
)


def segment(
    source: Annotated[str, typer.Argument(help="Folder or s3://bucket/prefix/ of images.")],
    model: Trained,
    out: Out,
    tile: Annotated[
        int | None,
        typer.Option(help="Look at images at their own scale, in tiles of so many pixels; for large ones."),
    ] = None,
    overlap: Annotated[int, typer.Option(help="Pixels that tiles share.")] = 64,
    maps: Annotated[
        str | None, typer.Option(help="Write the maps as palette PNG files there too, beside the Parquet.")
    ] = None,
    max_pixels: Annotated[int | None, typer.Option(help="Refuse larger images; default 100 million.")] = None,
    include: Include = None,
    exclude: Exclude = None,
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
    """Give every pixel of every image below SOURCE a class, with a trained segmenter."""
    limits: dict[str, Any] = {"max_failed_fraction": max_failed_fraction}
    if max_pixels is not None:
        limits["max_pixels"] = max_pixels
    content = {
        "job": "segment",
        "source": source_content(source, include, exclude, media="images"),
        "model": {"name": model},
        "segment": {"tile": tile, "overlap": overlap},
        "storage": storage_content(profile, endpoint_url, region),
        "resources": resources_content(actors, gpus_per_actor, batch_size),
        "limits": limits,
        "sink": {"uri": out},
    }
    result = run_content(content, address=address, dry_run=dry_run, as_json=as_json, verbose=verbose)
    if result is None or maps is None:
        return
    from jobs.pictures import write_pictures
    from jobs.storage import Access

    with usage_errors():
        access = Access(profile, endpoint_url, region)
        written = write_pictures(out, maps, "map", lambda row: bytes(row["map"]), access=access)
    if not as_json:
        typer.echo(f"{written.num_images:,} maps: {written.uri}")
