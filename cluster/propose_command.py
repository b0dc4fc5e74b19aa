"""The command `propose`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cluster.job_commands import run_content
from cluster.options import (
    Actors,
    Address,
    DryRun,
    Endpoint,
    Exclude,
    Fps,
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


def propose(
    source: Annotated[str, typer.Argument(help="Folder or s3://bucket/prefix/ of images and videos.")],
    out: Out,
    method: Annotated[str, typer.Option(help="selective_search.")] = "selective_search",
    strategy: Annotated[
        str, typer.Option(help="single, fast or quality: of one, 8 or 80 groupings.")
    ] = "fast",
    max_boxes: Annotated[int, typer.Option(help="Keep at most so many an image.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of the order in which groupings are mixed.")] = 0,
    include: Include = None,
    exclude: Exclude = None,
    fps: Fps = None,
    stride: Stride = None,
    keyframes: Keyframes = False,
    actors: Actors = None,
    max_failed_fraction: MaxFailedFraction = 1.0,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    address: Address = None,
    dry_run: DryRun = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Find boxes that are likely to hold an object of any class in every image and frame below SOURCE."""
    content: dict[str, Any] = {
        "job": "propose",
        "source": source_content(source, include, exclude),
        "video": {"fps": fps, "stride": stride, "keyframes": keyframes},
        "model": {"name": method},
        "propose": {"strategy": strategy, "max_boxes": max_boxes, "seed": seed},
        "storage": storage_content(profile, endpoint_url, region),
        "resources": resources_content(actors, 0, 1),
        "limits": {"max_failed_fraction": max_failed_fraction},
        "sink": {"uri": out},
    }
    run_content(content, address=address, dry_run=dry_run, as_json=as_json, verbose=verbose)
