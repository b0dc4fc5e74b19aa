"""`veedor dataset`: `check`, `stats`, `convert`, `sheet`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cluster.exits import EXIT_FAILED, usage_errors
from cluster.options import Endpoint, Json, Profile, Region

if TYPE_CHECKING:
    from jobs.datasets import DatasetSource
    from jobs.storage import Access

dataset_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Check, count, convert and look at datasets: COCO, Pascal VOC, YOLO, and folders of classes.",
)

Place = Annotated[
    str, typer.Argument(help="Folder or s3://bucket/prefix/ of a dataset, or a .yaml that describes one.")
]
Split = Annotated[
    str | None,
    typer.Option(help="train, val or test, or a .txt in it that lists images; default all of them."),
]
Seed = Annotated[int, typer.Option(min=0, help="Draws the splits of a dataset that has none.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with 1, or write nothing, if something has to be left out.")
]


@dataset_app.command()
def check(
    path: Place,
    split: Split = None,
    strict: Strict = False,
    images: Annotated[bool, typer.Option("--images", help="Decode every image.")] = False,
    masks: Annotated[
        bool, typer.Option("--masks", help="Look at masks, which segmenters learn from.")
    ] = False,
    seed: Seed = 0,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Say what is wrong with a dataset, how often, and what reading it does about that."""
    from cluster.dataset_listing import print_check, print_mask_check
    from jobs.dataset_check import check_dataset
    from jobs.mask_check import check_mask_dataset
    from jobs.masks import open_masks

    with usage_errors(as_json=as_json):
        access = _access(profile, endpoint_url, region)
        if masks:
            with_masks = open_masks(path, access, seed=seed)
            checked = check_mask_dataset(with_masks, split=split)
            print_mask_check(with_masks.location, checked, as_json=as_json)
            problems = checked.problems
        else:
            source = _open(path, access, seed)
            found = check_dataset(source, split=split, look="pixels" if images else "sizes")
            print_check(source, found, as_json=as_json)
            problems = found.problems
    if strict and problems.serious:
        raise typer.Exit(EXIT_FAILED)


@dataset_app.command()
def stats(
    path: Place,
    split: Split = None,
    seed: Seed = 0,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Count images, boxes and classes, and say how large they are."""
    from cluster.dataset_listing import print_stats
    from cvcore.datasets.stats import dataset_stats

    with usage_errors(as_json=as_json):
        source = _open(path, _access(profile, endpoint_url, region), seed)
        print_stats(dataset_stats(source.read(split, look="names")), as_json=as_json)


@dataset_app.command()
def convert(
    path: Place,
    to: Annotated[
        str,
        typer.Option(help="coco, voc or yolo; with --masks: masks (folders of them), voc, coco or panoptic."),
    ],
    out: Annotated[str, typer.Option(help="Folder or s3://bucket/prefix/, new or empty.")],
    split: Split = None,
    link: Annotated[
        bool,
        typer.Option("--link/--copy", help="Give local images a second name (hard links), or copy them."),
    ] = False,
    strict: Strict = False,
    masks: Annotated[
        bool, typer.Option("--masks", help="Convert masks, which segmenters learn from, rather than boxes.")
    ] = False,
    seed: Seed = 0,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Write a dataset in another format; what that cannot hold is said."""
    from cluster.dataset_listing import print_converted
    from jobs.dataset_convert import convert_dataset
    from jobs.mask_convert import convert_masks
    from jobs.masks import open_masks

    access = _access(profile, endpoint_url, region)
    with usage_errors(as_json=as_json):
        if masks or to == "masks":
            done = convert_masks(
                open_masks(path, access, seed=seed),
                out,
                to=to,
                access=access,
                split=split,
                link=link,
                strict=strict,
            )
        else:
            source = _open(path, access, seed)
            done = convert_dataset(source, out, to=to, access=access, split=split, link=link, strict=strict)
        print_converted(done, as_json=as_json)


@dataset_app.command()
def sheet(
    path: Place,
    out: Annotated[str, typer.Option(help="The .jpg or .png to write.")],
    split: Split = None,
    num: Annotated[int, typer.Option(help="How many images.")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="Chooses them.")] = 0,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
) -> None:
    """Draw some images with their boxes and labels into one picture."""
    from jobs.dataset_convert import write_sheet

    access = _access(profile, endpoint_url, region)
    with usage_errors():
        source = _open(path, access, 0)
        shown = write_sheet(source, out, access=access, split=split, num=num, seed=seed)
    typer.echo(f"{shown:,} images: {out}")


def _access(profile: str | None, endpoint_url: str | None, region: str | None) -> Access:
    from jobs.storage import Access

    return Access(profile, endpoint_url, region)


def _open(path: str, access: Access, seed: int) -> DatasetSource:
    from jobs.datasets import open_dataset

    return open_dataset(path, access, seed=seed)
