"""The `veedor` command. Exit codes: 0 done, 1 failed, 2 bad spec or arguments, 3 too many inputs failed."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from cvcore.errors import VeedorError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_OVER_LIMIT = 3
EXIT_INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Annotate large image datasets on Ray: from a folder or bucket, through a detector, into Parquet.",
)

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line instead of text.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show what Ray and the workers say.")]
Address = Annotated[
    str | None, typer.Option(help="Ray cluster to join; default RAY_ADDRESS, else an embedded one.")
]
Profile = Annotated[str | None, typer.Option(help="AWS profile; default the environment's credentials.")]
Endpoint = Annotated[str | None, typer.Option(help="S3-compatible endpoint; default AWS_ENDPOINT_URL.")]
Region = Annotated[str | None, typer.Option(help="S3 region; default the environment's.")]


@app.command()
def annotate(
    source: Annotated[str, typer.Argument(help="Folder or s3://bucket/prefix/ of images.")],
    out: Annotated[str, typer.Option(help="Folder or s3://bucket/prefix/ for the results.")],
    model: Annotated[str, typer.Option(help="Catalogue name, Darknet .cfg, or checkpoint.")] = "tiny",
    weights: Annotated[
        str | None, typer.Option(help=".weights, .safetensors, .pt, or torchvision://NAME.")
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="Pin of the weights; required for .pt files.")] = None,
    labels: Annotated[str | None, typer.Option(help="Text file, one class name a line.")] = None,
    min_score: Annotated[float, typer.Option(help="Drop detections below this score.")] = 0.25,
    nms_iou: Annotated[float, typer.Option(help="Suppress same-class boxes that overlap more.")] = 0.45,
    max_detections: Annotated[int, typer.Option(help="Keep at most so many an image.")] = 100,
    include: Annotated[list[str] | None, typer.Option(help="Glob of names to take; may repeat.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Glob of names to leave; may repeat.")] = None,
    actors: Annotated[int | None, typer.Option(help="Model replicas; default from the machine.")] = None,
    gpus_per_actor: Annotated[float | None, typer.Option(help="GPUs of one replica; 0 means CPU.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Default: measured.")] = None,
    max_failed_fraction: Annotated[float, typer.Option(help="More failures than this exit with 3.")] = 1.0,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    address: Address = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print spec, plan and resources.")] = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Find objects in every image below SOURCE and write one Parquet row for each image."""
    content = {
        "source": {"uri": source, "include": include or [], "exclude": exclude or []},
        "model": {"name": model, "weights": weights, "sha256": sha256, "labels": labels},
        "annotate": {"min_score": min_score, "nms_iou": nms_iou, "max_detections": max_detections},
        "storage": {"profile": profile, "endpoint_url": endpoint_url, "region": region},
        "resources": {"actors": actors, "gpus_per_actor": gpus_per_actor, "batch_size": batch_size},
        "limits": {"max_failed_fraction": max_failed_fraction},
        "sink": {"uri": out},
    }
    _run(content, name="the command line", address=address, dry_run=dry_run, as_json=as_json, verbose=verbose)


@app.command()
def run(
    spec: Annotated[Path, typer.Argument(help="YAML or JSON job spec.")],
    address: Address = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print spec, plan and resources.")] = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Run a job from a spec file; the same file runs on a laptop and on a cluster."""
    from jobs.spec import MAX_SPEC_CHARS, load_yaml

    try:
        with spec.open(encoding="utf-8") as file:
            text = file.read(MAX_SPEC_CHARS + 1)
    except OSError as error:
        _fail(f"cannot read {spec}: {error.strerror}", as_json=as_json)
    except UnicodeDecodeError:
        _fail(f"cannot read {spec}: it is not UTF-8 text", as_json=as_json)
    try:
        content = load_yaml(text, name=str(spec))
    except VeedorError as error:
        _fail(str(error), as_json=as_json)
    _run(content, name=str(spec), address=address, dry_run=dry_run, as_json=as_json, verbose=verbose)


def _run(
    content: dict[str, Any], *, name: str, address: str | None, dry_run: bool, as_json: bool, verbose: bool
) -> None:
    from cluster.console import open_display
    from cluster.last_words import last_words
    from jobs.catalog import find_job
    from jobs.outcome import JobFailed
    from jobs.spec import validate_spec

    display = open_display(as_json=as_json)
    try:
        job = find_job(content)
        spec = validate_spec(content, job.spec, name=name)
        if dry_run:
            from cluster.dry_run import print_dry_run

            print_dry_run(spec, display, address=address)
            return
        signal.signal(signal.SIGTERM, _interrupt)
        with last_words(as_json=as_json):
            result = job.run(spec, listener=display, address=address, verbose=verbose)
    except JobFailed as error:
        display.error(str(error))
        raise typer.Exit(EXIT_FAILED) from error
    except VeedorError as error:
        display.error(str(error))
        raise typer.Exit(EXIT_USAGE) from error
    except KeyboardInterrupt as error:
        display.error("interrupted: what is published stays; run the same command again to continue")
        raise typer.Exit(EXIT_INTERRUPTED) from error
    finally:
        display.close()
    display.result(result)
    if result.over_limit:
        counts = result.manifest["counts"]
        display.error(
            f"{counts['failed']:,} of {counts['inputs']:,} inputs failed; "
            f"limits.max_failed_fraction = {spec.limits.max_failed_fraction:g} allows fewer"
        )
        raise typer.Exit(EXIT_OVER_LIMIT)


@app.command()
def models(as_json: Json = False) -> None:
    """List what --model can name: input size, parameters, and where the weights come from."""
    from cluster.listing import print_models

    print_models(as_json=as_json)


@app.command()
def report(
    run: Annotated[str, typer.Argument(help="The --out of a job.")],
    out: Annotated[str | None, typer.Option(help="Where to write; default RUN/report.html.")] = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
) -> None:
    """Make one self-contained HTML page of a run: counts, histograms, failures, pictures with boxes."""
    from jobs.report.build import write_report
    from jobs.storage import Access

    with _usage_errors():
        where = write_report(run, out_uri=out, access=Access(profile, endpoint_url, region))
    typer.echo(f"Report: {where}")


@app.command()
def evaluate(
    run: Annotated[str, typer.Argument(help="The --out of an annotate job.")],
    truth: Annotated[str, typer.Option(help="Ground truth, COCO JSON.")],
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Measure a run against ground truth with COCO's metrics (pycocotools)."""
    from cluster.listing import print_evaluation
    from jobs.evaluate import evaluate_run
    from jobs.storage import Access

    with _usage_errors(as_json=as_json):
        found = evaluate_run(run, truth, access=Access(profile, endpoint_url, region))
    print_evaluation(found, as_json=as_json)


@app.command()
def train(
    data: Annotated[str, typer.Option(help="Folder with images/ and annotations.json (COCO boxes).")],
    val_data: Annotated[str, typer.Option(help="Held-out folder of the same kind; picks the best epoch.")],
    out: Annotated[str, typer.Option(help="Folder for the checkpoint; a killed run continues from it.")],
    model: Annotated[str, typer.Option(help="Architecture.")] = "tiny",
    init: Annotated[str | None, typer.Option(help="Checkpoint to start from.")] = None,
    epochs: Annotated[int, typer.Option(help="Of the whole run.")] = 20,
    batch_size: Annotated[int, typer.Option(help="Images in one step of one worker.")] = 16,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 1.5e-3,
    anchors: Annotated[str, typer.Option(help="default, or fit: clustered from the boxes.")] = "default",
    input_size: Annotated[int | None, typer.Option(help="Canvas, pixels; default the model's.")] = None,
    width: Annotated[
        int | None, typer.Option(help="Channels of the first layer; default the model's.")
    ] = None,
    patience: Annotated[int | None, typer.Option(help="End after so many epochs without a gain.")] = None,
    turn: Annotated[bool, typer.Option(help="Turn and mirror images; not where up means something.")] = True,
    precision: Annotated[str, typer.Option(help="auto, bf16 or fp32.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation.")] = 0,
    num_workers: Annotated[int, typer.Option(help="Data-parallel workers.")] = 1,
    num_threads: Annotated[int | None, typer.Option(help="torch threads of a worker.")] = None,
    gpus_per_worker: Annotated[float, typer.Option(help="0 trains on CPUs.")] = 0.0,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    address: Address = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Train the small detector on images with COCO boxes; killed runs continue where they were."""
    from cluster.training import run_training

    content = {
        "data": data,
        "val_data": val_data,
        "out": out,
        "model": model,
        "init": init,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "anchors": anchors,
        "input_size": input_size,
        "width": width,
        "patience": patience,
        "turn": turn,
        "precision": precision,
        "seed": seed,
        "num_workers": num_workers,
        "num_threads": num_threads,
        "gpus_per_worker": gpus_per_worker,
        "storage": {"profile": profile, "endpoint_url": endpoint_url, "region": region},
    }

    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with _usage_errors(as_json=as_json):
            run_training(content, address=address, as_json=as_json, verbose=verbose)
    except KeyboardInterrupt as error:
        typer.echo("interrupted: run the same command again to continue after the last epoch", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from error


@app.command()
def scenes(
    folder: Annotated[Path, typer.Argument(help="Folder to create: images/ and annotations.json.")],
    num: Annotated[int, typer.Option(min=1, help="How many scenes.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of the first scene; the others follow.")] = 0,
) -> None:
    """Render sample scenes of parts on a conveyor, with exact boxes and masks as COCO JSON."""
    from cvcore.scenes.coco import write_scenes

    write_scenes(folder, num_scenes=num, seed=seed)
    typer.echo(f"{num} scenes: {folder / 'images'}, ground truth {folder / 'annotations.json'}")


@contextlib.contextmanager
def _usage_errors(*, as_json: bool = False) -> Iterator[None]:
    """Print a user's mistake without a traceback and exit with 2."""
    try:
        yield
    except VeedorError as error:
        _fail(str(error), as_json=as_json)


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    del signum, frame
    raise KeyboardInterrupt


def _fail(message: str, *, as_json: bool = False) -> NoReturn:
    from cluster.console import open_display

    open_display(as_json=as_json).error(message)
    raise typer.Exit(EXIT_USAGE)


def main() -> None:
    """Entry point of the console script."""
    app(prog_name="veedor")


if __name__ == "__main__":
    main()
