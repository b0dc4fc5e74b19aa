"""Options that several commands share, and what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line instead of text.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show what Ray and the workers say.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print spec, plan and resources.")]
Address = Annotated[
    str | None, typer.Option(help="Ray cluster to join; default RAY_ADDRESS, else an embedded one.")
]
JobServer = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="http://HOST:8265 of the cluster; default RAY_ADDRESS, else the one up here.",
    ),
]
TokenFile = Annotated[
    Path | None, typer.Option(help="With the cluster's token; default RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH.")
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Use a cluster beyond this machine without a token.")
]
Code = Annotated[
    str, typer.Option(help="What runs there: tree, this veedor; installed, the cluster's own; or a wheel.")
]
SharedPaths = Annotated[bool, typer.Option("--shared-paths", help="Local paths are the same on every node.")]
SubmitTo = Annotated[
    str | None,
    typer.Option(
        "--submit", help="http://HOST:8265 of a cluster to submit the jobs to, instead of running them here."
    ),
]
Profile = Annotated[str | None, typer.Option(help="AWS profile; default the environment's credentials.")]
Endpoint = Annotated[str | None, typer.Option(help="S3-compatible endpoint; default AWS_ENDPOINT_URL.")]
Region = Annotated[str | None, typer.Option(help="S3 region; default the environment's.")]

Out = Annotated[str, typer.Option(help="Folder or s3://bucket/prefix/ for the results.")]
Include = Annotated[list[str] | None, typer.Option(help="Glob of names to take; may repeat.")]
Exclude = Annotated[list[str] | None, typer.Option(help="Glob of names to leave; may repeat.")]

Fps = Annotated[float | None, typer.Option(help="Of videos, take so many frames a second; default all.")]
Stride = Annotated[int | None, typer.Option(help="Of videos, take every n-th frame.")]
Keyframes = Annotated[bool, typer.Option("--keyframes", help="Of videos, take the keyframes.")]
Stream = Annotated[int | None, typer.Option(help="Of videos, this stream; default the one players choose.")]

Model = Annotated[str, typer.Option(help="Catalogue name, Darknet .cfg, or checkpoint.")]
Weights = Annotated[str | None, typer.Option(help=".weights, .safetensors, .pt, or torchvision://NAME.")]
Sha256 = Annotated[str | None, typer.Option(help="Pin of the weights; required for .pt files.")]
Labels = Annotated[str | None, typer.Option(help="Text file, one class name a line.")]
MinScore = Annotated[float, typer.Option(help="Drop detections below this score.")]
NmsIou = Annotated[float, typer.Option(help="Suppress same-class boxes that overlap more.")]
Tile = Annotated[
    int | None,
    typer.Option(
        help="Of a segmenter: look at images at their own scale, in tiles of so many pixels; for large ones."
    ),
]
Overlap = Annotated[int, typer.Option(help="Of a segmenter, pixels that tiles share.")]
Maps = Annotated[
    str | None,
    typer.Option(help="Of a segmenter: write class maps as palette PNG files there too, beside the Parquet."),
]
MaxPixels = Annotated[int | None, typer.Option(help="Refuse larger images; default 100 million.")]
TopK = Annotated[int, typer.Option(help="Of a classifier, keep so many labels an image.")]
MaxDetections = Annotated[int, typer.Option(help="Keep at most so many an image.")]

Actors = Annotated[int | None, typer.Option(help="Model replicas; default from the machine.")]
GpusPerActor = Annotated[float | None, typer.Option(help="GPUs of one replica; 0 means CPU.")]
BatchSize = Annotated[int | None, typer.Option(help="Default: measured.")]
SpeedSeconds = Annotated[
    float, typer.Option(min=0, help="About how long to time a detector; 0 does not time it.")
]
MaxFailedFraction = Annotated[float, typer.Option(help="More failures than this exit with 3.")]


def storage_content(profile: str | None, endpoint_url: str | None, region: str | None) -> dict[str, Any]:
    """A spec's `storage`, as these options have it."""
    return {"profile": profile, "endpoint_url": endpoint_url, "region": region}


def source_content(
    uri: str, include: list[str] | None, exclude: list[str] | None, **more: Any
) -> dict[str, Any]:
    """A spec's `source`."""
    return {"uri": uri, "include": include or [], "exclude": exclude or [], **more}


def resources_content(
    actors: int | None, gpus_per_actor: float | None, batch_size: int | None
) -> dict[str, Any]:
    """A spec's `resources`."""
    return {"actors": actors, "gpus_per_actor": gpus_per_actor, "batch_size": batch_size}
