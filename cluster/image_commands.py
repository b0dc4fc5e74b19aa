"""The commands that make pictures: `denoise`, `compress`, `decompress`, `generate`, `reduce`."""

from __future__ import annotations

from typing import Annotated

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
from cvcore.errors import SpecError, did_you_mean

PicturesOut = Annotated[str, typer.Option(help="Folder or s3://bucket/prefix/ for the PNG files.")]
ModelNow = Annotated[str | None, typer.Option(help="Where the model is now; default where it was.")]


def denoise(
    source: Annotated[str, typer.Argument(help="Folder or s3://bucket/prefix/ of images.")],
    model: Trained,
    out: Out,
    noise: Annotated[
        float, typer.Option(help="Add noise of this deviation (0 to 1) first, and measure what is left.")
    ] = 0.0,
    images: Annotated[
        str | None, typer.Option(help="Write the pictures as PNG files there too, beside the Parquet.")
    ] = None,
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
    """Take noise away with an autoencoder that was trained to (veedor train --noise)."""
    content = {
        "job": "denoise",
        "source": source_content(source, include, exclude, media="images"),
        "model": {"name": model},
        "noise": noise,
        "storage": storage_content(profile, endpoint_url, region),
        "resources": resources_content(actors, gpus_per_actor, batch_size),
        "limits": {"max_failed_fraction": max_failed_fraction},
        "sink": {"uri": out},
    }
    result = run_content(content, address=address, dry_run=dry_run, as_json=as_json, verbose=verbose)
    if result is None or as_json:
        return
    from jobs.denoise import noise_figures
    from jobs.pictures import write_pictures
    from jobs.storage import Access

    access = Access(profile, endpoint_url, region)
    found = noise_figures(out, access=access)
    if found:
        typer.echo(
            f"PSNR {found['psnr_before']:.2f} dB with noise, {found['psnr_after']:.2f} dB without; "
            f"SSIM {found['ssim_before']:.3f} and {found['ssim_after']:.3f}"
        )
    if images is not None:
        with usage_errors():
            written = write_pictures(out, images, "image", lambda row: bytes(row["image"]), access=access)
        typer.echo(f"{written.num_images:,} pictures: {written.uri}")


def compress(
    source: Annotated[str, typer.Argument(help="Folder or s3://bucket/prefix/ of images.")],
    model: Trained,
    out: Out,
    step: Annotated[
        float,
        typer.Option(help="In units of the codes' spread: smaller is finer, and longer."),
    ] = 0.5,
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
    """Code images in some dozens of bytes each, under a model and its calibration."""
    content = {
        "job": "compress",
        "source": source_content(source, include, exclude, media="images"),
        "model": {"name": model},
        "step": step,
        "storage": storage_content(profile, endpoint_url, region),
        "resources": resources_content(actors, gpus_per_actor, batch_size),
        "limits": {"max_failed_fraction": max_failed_fraction},
        "sink": {"uri": out},
    }
    result = run_content(content, address=address, dry_run=dry_run, as_json=as_json, verbose=verbose)
    if result is not None and not as_json:
        from jobs.compress import code_figures
        from jobs.storage import Access

        typer.echo(code_figures(out, access=Access(profile, endpoint_url, region)))
        typer.echo(f"Next:    veedor decompress {out} --out FOLDER")


def decompress(
    run: Annotated[str, typer.Argument(help="The --out of veedor compress.")],
    out: PicturesOut,
    model: ModelNow = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
) -> None:
    """Write what codes stand for, as PNG files of the inputs' sizes."""
    from jobs.compress import write_decoded
    from jobs.storage import Access

    with usage_errors():
        done = write_decoded(run, out, access=Access(profile, endpoint_url, region), model=model)
    left = f"; {done.num_failed:,} inputs have no code" if done.num_failed else ""
    typer.echo(f"{done.num_images:,} pictures: {done.uri}{left}")


def generate(
    model: Annotated[str, typer.Argument(help="A trained vae.")],
    out: PicturesOut,
    num: Annotated[int, typer.Option(help="How many.")] = 16,
    seed: Annotated[int, typer.Option(help="The same seed gives the same pictures.")] = 0,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
) -> None:
    """Make up pictures like those that a variational autoencoder was trained on."""
    from jobs.generate import generate_images
    from jobs.storage import Access

    with usage_errors():
        access = Access(profile, endpoint_url, region)
        written = generate_images(model, out, num=num, seed=seed, access=access)
    typer.echo(f"{len(written):,} pictures: {out}")


def reduce(
    run: Annotated[str, typer.Argument(help="The --out of veedor embed.")],
    method: Annotated[str, typer.Option(help="pca, or umap where umap-learn is installed.")] = "pca",
    seed: Annotated[int, typer.Option(help="Of umap.")] = 0,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
) -> None:
    """Draw a map of a run's embeddings, with pictures in their places."""
    from cvcore.retrieve.reduce import METHODS
    from jobs.reduce import reduce_run
    from jobs.storage import Access

    with usage_errors():
        known = next((each for each in METHODS if each == method), None)
        if known is None:
            hint = did_you_mean(method, METHODS)
            raise SpecError(f"there is no method {method!r}.{hint} Methods: {', '.join(METHODS)}.")
        done = reduce_run(run, method=known, access=Access(profile, endpoint_url, region), seed=seed)
    shown = "" if done.explained is None else f", {done.explained:.0%} of the variance"
    typer.echo(f"{done.count:,} of {done.total:,} inputs{shown}\nTable: {done.table}\nMap:   {done.page}")
