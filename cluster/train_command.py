"""`veedor train`, for every kind of model that can be trained."""

from __future__ import annotations

import signal
from typing import Annotated, Any

import typer

from cluster.exits import EXIT_INTERRUPTED, interrupt, usage_errors
from cluster.options import (
    Address,
    Endpoint,
    Exclude,
    Include,
    Json,
    Profile,
    Region,
    Verbose,
    storage_content,
)

DATASETS, VIEWS, DETECTORS, CLASSIFIERS, AUTOENCODERS, MEMORIES = (
    "Detectors, classifiers and segmenters",
    "Detectors and segmenters",
    "Detectors",
    "Classifiers and localisers",
    "Autoencoders",
    "PatchCore",
)


def train(
    data: Annotated[
        str,
        typer.Argument(
            help="Folder or s3://bucket/prefix/: of normal images, for autoencoders and patchcore; for "
            "detectors a dataset of boxes (COCO, Pascal VOC or YOLO), for classifiers a folder of images for "
            "each class, for segmenters a dataset of masks; or the dataset.yaml that describes it."
        ),
    ],
    out: Annotated[str, typer.Option(help="Folder for the checkpoint; a killed run continues from it.")],
    model: Annotated[
        str,
        typer.Option(
            help="A detector (tiny, yolov3, ssd300, faster_rcnn, a .cfg ...), a classifier (resnet18, "
            "squeezenet1_1, darknet19 ...), a segmenter (unet, fcn8s ...), conv_autoencoder, "
            "dense_autoencoder, vae or patchcore; veedor models lists them."
        ),
    ] = "tiny",
    epochs: Annotated[int | None, typer.Option(help="Of the whole run.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images in one step of one worker.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    warmup_steps: Annotated[int | None, typer.Option(help="Steps of the learning rate's rise.")] = None,
    patience: Annotated[int | None, typer.Option(help="End after so many epochs without a gain.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, bf16 or fp32.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and augmentation.")] = None,
    input_size: Annotated[int | None, typer.Option(help="Canvas, pixels; default the model's.")] = None,
    num_workers: Annotated[int | None, typer.Option(help="Data-parallel workers.")] = None,
    num_threads: Annotated[int | None, typer.Option(help="torch threads of a worker.")] = None,
    gpus_per_worker: Annotated[float | None, typer.Option(help="0 trains on CPUs.")] = None,
    max_cached_bytes: Annotated[
        int | None,
        typer.Option(help="Decoded images that a worker keeps in memory; others are read in each epoch."),
    ] = None,
    include: Include = None,
    exclude: Exclude = None,
    val_data: Annotated[
        str | None,
        typer.Option(
            help="Another dataset that picks the best epoch; default DATA's val split.",
            rich_help_panel=DATASETS,
        ),
    ] = None,
    train_split: Annotated[str | None, typer.Option(help="Default train.", rich_help_panel=DATASETS)] = None,
    val_split: Annotated[str | None, typer.Option(help="Default val.", rich_help_panel=DATASETS)] = None,
    init: Annotated[
        str | None,
        typer.Option(
            help="Weights to start from: a checkpoint, a torchvision classifier, as torchvision://NAME, "
            "Darknet's .weights, or a model of the catalogue that has some, as tiny.",
            rich_help_panel=DATASETS,
        ),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            help="Of YOLOv3: paper or dense; of segmenters: cross_entropy, balanced, dice, focal, border, "
            "or several, as balanced+dice.",
            rich_help_panel=VIEWS,
        ),
    ] = None,
    multi_scale: Annotated[
        bool | None, typer.Option(help="Train on canvases of many sizes.", rich_help_panel=DETECTORS)
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE of the model's builder; repeat.", rich_help_panel=DATASETS),
    ] = None,
    anchors: Annotated[
        str | None,
        typer.Option(help="default, or fit: clustered from the boxes.", rich_help_panel=DETECTORS),
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(
            help="Steps of the training views, by commas: flip, turn, jitter, crop, zoom, hsv, colour, "
            "mosaic; or none; of segmenters the first three and colours. Default what the model's paper has.",
            rich_help_panel=VIEWS,
        ),
    ] = None,
    freeze: Annotated[
        str | None,
        typer.Option(
            help="What does not learn: backbone, a number of first convolutions, or where parameters' names "
            "begin.",
            rich_help_panel=VIEWS,
        ),
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="Of kernels and matrices.", rich_help_panel=DATASETS)
    ] = None,
    grad_clip: Annotated[
        float | None, typer.Option(help="Greatest norm of the gradient.", rich_help_panel=DATASETS)
    ] = None,
    average_decay: Annotated[
        float | None,
        typer.Option(help="Of the averaged weights; 0 averages nothing.", rich_help_panel=DATASETS),
    ] = None,
    label_smoothing: Annotated[
        float | None,
        typer.Option(help="Share of the target that all classes get.", rich_help_panel=CLASSIFIERS),
    ] = None,
    class_weights: Annotated[
        str | None,
        typer.Option(help="none, or balanced: rare classes weigh more.", rich_help_panel=CLASSIFIERS),
    ] = None,
    min_area: Annotated[
        float | None,
        typer.Option(help="Smallest share of a picture in a random crop.", rich_help_panel=CLASSIFIERS),
    ] = None,
    boxes: Annotated[
        str | None,
        typer.Option(
            help="Images of several boxes: single leaves them out, largest takes that one.",
            rich_help_panel=CLASSIFIERS,
        ),
    ] = None,
    width: Annotated[
        float | None,
        typer.Option(help="Channels of the first layer; of detectors and classifiers, a factor for all."),
    ] = None,
    depth: Annotated[int | None, typer.Option(help="Stages that halve the picture.")] = None,
    latent_size: Annotated[
        int | None, typer.Option(help="Numbers that a picture is coded in.", rich_help_panel=AUTOENCODERS)
    ] = None,
    channels: Annotated[
        int | None, typer.Option(help="3, or 1 for gray.", rich_help_panel=AUTOENCODERS)
    ] = None,
    beta: Annotated[
        float | None, typer.Option(help="Weight of a vae's divergence.", rich_help_panel=AUTOENCODERS)
    ] = None,
    held_out: Annotated[
        float | None,
        typer.Option(help="Share of images that picks the best epoch.", rich_help_panel=AUTOENCODERS),
    ] = None,
    mirror: Annotated[
        bool | None,
        typer.Option(help="Show images mirrored too; classifiers do unless --no-mirror."),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(help="Learn to take away noise of this deviation.", rich_help_panel=AUTOENCODERS),
    ] = None,
    max_images: Annotated[
        int | None, typer.Option(help="Learn from a sample of so many.", rich_help_panel=AUTOENCODERS)
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Classifier whose features are used, of models that take one.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Of the backbone: file or torchvision://NAME.", rich_help_panel=MEMORIES),
    ] = None,
    sha256: Annotated[
        str | None,
        typer.Option(help="Pin of the weights or of --init; required for .pt and .pth files."),
    ] = None,
    memory_size: Annotated[
        int | None, typer.Option(help="Patches that are remembered.", rich_help_panel=MEMORIES)
    ] = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    address: Address = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Train a detector, classifier, segmenter, autoencoder or patch memory.

    Killed runs continue where they were.
    """
    content: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "warmup_steps": warmup_steps,
        "patience": patience,
        "precision": precision,
        "seed": seed,
        "input_size": input_size,
        "num_workers": num_workers,
        "num_threads": num_threads,
        "gpus_per_worker": gpus_per_worker,
        "max_cached_bytes": max_cached_bytes,
        "include": include,
        "exclude": exclude,
        "val_data": val_data,
        "train_split": train_split,
        "val_split": val_split,
        "init": init,
        "loss": loss,
        "multi_scale": multi_scale,
        "anchors": anchors,
        "augment": None if augment is None else augment_steps(augment),
        "freeze": freeze,
        "weight_decay": weight_decay,
        "grad_clip": grad_clip,
        "average_decay": average_decay,
        "label_smoothing": label_smoothing,
        "class_weights": class_weights,
        "min_area": min_area,
        "boxes": boxes,
        "width": width,
        "depth": depth,
        "latent_size": latent_size,
        "channels": channels,
        "beta": beta,
        "held_out": held_out,
        "mirror": mirror,
        "noise": noise,
        "max_images": max_images,
        "backbone": backbone,
        "weights": weights,
        "sha256": sha256,
        "memory_size": memory_size,
    }
    given = {name: value for name, value in content.items() if value is not None}
    if set_:
        given["options"] = _settings(set_)
    storage = storage_content(profile, endpoint_url, region)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        with usage_errors(as_json=as_json):
            from cluster.training import run_training

            run_training(
                {"data": data, "out": out, "model": model, "storage": storage, **given},
                address=address,
                as_json=as_json,
                verbose=verbose,
            )
    except KeyboardInterrupt as error:
        typer.echo("interrupted: run the same command again to continue after the last epoch", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from error


def augment_steps(text: str) -> list[str]:
    """The names between commas; nothing for `none`."""
    return [] if text == "none" else [name.strip() for name in text.split(",")]


def _settings(pairs: list[str]) -> dict[str, Any]:
    """`NAME=VALUE` texts; a value is read as YAML: a number, a list, a word."""
    import yaml

    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"--set {pair}: write NAME=VALUE, as --set head_width=256")
        found[name] = yaml.safe_load(text)
    return found
