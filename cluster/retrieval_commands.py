"""The commands about vectors: `embed`, `index`, `search`, `duplicates`."""

from __future__ import annotations

import json
from dataclasses import asdict
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

IndexFolder = Annotated[str, typer.Argument(help="The --out of veedor index.")]


def embed(
    source: Annotated[str, typer.Argument(help="Folder or s3://bucket/prefix/ of images and videos.")],
    model: Trained,
    out: Out,
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
    """Give every image and frame below SOURCE a vector: an autoencoder's code, or a backbone's features."""
    content: dict[str, Any] = {
        "job": "embed",
        "source": source_content(source, include, exclude),
        "video": {"fps": fps, "stride": stride, "keyframes": keyframes},
        "model": {"name": model},
        "storage": storage_content(profile, endpoint_url, region),
        "resources": resources_content(actors, gpus_per_actor, batch_size),
        "limits": {"max_failed_fraction": max_failed_fraction},
        "sink": {"uri": out},
    }
    run_content(content, address=address, dry_run=dry_run, as_json=as_json, verbose=verbose)


def index(
    runs: Annotated[list[str], typer.Argument(help="The --out of one or more embed jobs.")],
    out: Annotated[str, typer.Option(help="Folder or s3://bucket/prefix/ of the index; may be one already.")],
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
) -> None:
    """Make embeddings searchable; what is in the index stays as it is, and is not added twice."""
    from jobs.index import add_to_index
    from jobs.storage import Access

    access = Access(profile, endpoint_url, region)
    with usage_errors():
        for run in runs:
            count, added = add_to_index(run, out, access=access)
            typer.echo(f"{run}: {count:,} vectors{'' if added else ', which were there already'}")
    typer.echo(f"Next: veedor search {out} --image IMAGE")


def search(
    index: IndexFolder,
    image: Annotated[str, typer.Option(help="What to look for: a file, or s3://bucket/key.")],
    k: Annotated[int, typer.Option("-k", help="How many to find.")] = 20,
    html: Annotated[str | None, typer.Option(help="Write a page with the pictures here.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Where the model is now; default where it was when indexed.")
    ] = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Find images that look like one."""
    from jobs.index import open_index
    from jobs.search import answer_page, search_image
    from jobs.storage import Access, open_store, resolve_location
    from jobs.visible import visible

    access = Access(profile, endpoint_url, region)
    with usage_errors(as_json=as_json):
        answer = search_image(open_index(index, access=access), image, k, access=access, model=model)
        if html is not None:
            where = resolve_location(html)
            open_store(where, access).put(where, answer_page(answer, access=access).encode())
    for hit in answer.hits:
        if as_json:
            typer.echo(json.dumps(asdict(hit)))
        else:
            frame = "" if hit.frame_index is None else f"  frame {hit.frame_index}"
            typer.echo(f"{hit.similarity:.4f}  {visible(hit.uri)}{frame}")
    if html is not None and not as_json:
        typer.echo(f"Page: {html}")


def duplicates(
    index: IndexFolder,
    above: Annotated[float, typer.Option(help="Least similarity, up to 1.")] = 0.99,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """List pairs of an index that look alike."""
    from jobs.index import open_index
    from jobs.neighbors import find_duplicates
    from jobs.storage import Access
    from jobs.visible import visible

    with usage_errors(as_json=as_json):
        access = Access(profile, endpoint_url, region)
        found = find_duplicates(open_index(index, access=access), above)
    for pair in found:
        if as_json:
            typer.echo(json.dumps(asdict(pair)))
        else:
            typer.echo(f"{pair.similarity:.4f}  {visible(pair.first)}  {visible(pair.second)}")
    if not as_json:
        typer.echo(f"{len(found):,} pairs at {above:g} and above")
