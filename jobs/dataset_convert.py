"""Writing datasets in another format, and contact sheets of them."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

from cvcore.datasets.problems import Problems, merge_problems
from cvcore.datasets.sheet import choose_images, contact_sheet
from cvcore.datasets.write import TARGETS, write_dataset
from cvcore.errors import SpecError, did_you_mean
from jobs.datasets import DatasetSource
from jobs.storage import Access, BucketMissing, Store, is_s3, join, open_store, resolve_location

SHEET_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
NUM_THREADS = 16

T = TypeVar("T", bound=str)


@dataclass(frozen=True)
class Converted:
    """What was written, what was wrong with the source, and what the format could not hold.

    `num_boxes` is None where masks were written.
    """

    uri: str
    num_images: int
    num_boxes: int | None
    num_renamed: int
    problems: Problems
    losses: Mapping[str, int]


def convert_dataset(
    source: DatasetSource,
    out: str,
    *,
    to: str,
    access: Access,
    split: str | None = None,
    link: bool = False,
    strict: bool = False,
) -> Converted:
    """Write a dataset in another format, with its images.

    Args:
        source: what to convert.
        out: a folder that does not exist or is empty.
        to: `coco`, `voc` or `yolo`.
        access: to `out`.
        split: this one alone; None for all, each as itself.
        link: give local images a second name instead of copying them.
        strict: whether problems that no correct dataset has are fatal.

    Raises:
        SpecError: for another format, a folder that is in use, or links where there can be none.
    """
    target = chosen_target(to, TARGETS)
    folder, store = open_target(out, access, source=source.location, link=link)
    wanted: dict[str, str | None] = {"": None} if split is None else {"": split}
    if split is None and source.has_splits:
        wanted = {name: name for name in source.splits}
    readings = {name: source.inspect(each) for name, each in wanted.items()}
    problems = merge_problems(reading.problems for reading in readings.values())
    if strict:
        problems.refuse(source.location)
    datasets = {name: reading.dataset for name, reading in readings.items()}
    output = write_dataset(datasets, target)

    def place(image: tuple[str, str]) -> None:
        if link:
            link_image(join(source.location, image[0]), join(folder, image[1]))
        else:
            store.put(join(folder, image[1]), source.read_image(image[0]))

    with ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="veedor-convert") as pool:
        list(pool.map(place, output.images))
        list(pool.map(lambda item: store.put(join(folder, item[0]), item[1]), output.files.items()))
    num_boxes = sum(dataset.num_boxes for dataset in datasets.values())
    num_images = sum(len(dataset.images) for dataset in datasets.values())
    return Converted(folder, num_images, num_boxes, output.num_renamed, problems, output.losses)


def chosen_target(to: str, targets: Sequence[T]) -> T:
    """The format that is called `to`; raises `SpecError` where there is none."""
    target = next((each for each in targets if each == to), None)
    if target is None:
        raise SpecError(
            f"there is no format {to!r} to write.{did_you_mean(to, targets)} Formats: {', '.join(targets)}."
        )
    return target


def open_target(out: str, access: Access, *, source: str, link: bool) -> tuple[str, Store]:
    """The folder that `out` names, without a slash at its end, and its store; errors are `check_target`'s."""
    folder = resolve_location(out).rstrip("/")
    store = open_store(folder, access)
    check_target(source, store, folder, link=link)
    return folder, store


def check_target(source: str, store: Store, folder: str, *, link: bool = False) -> None:
    """Raises `SpecError` for a folder that is in use, or links where there can be none."""
    if link and (is_s3(folder) or is_s3(source)):
        raise SpecError("object storage has no links: leave --link out, and images are copied")
    try:
        first = next(iter(store.walk(f"{folder}/" if is_s3(folder) else folder)), None)
    except BucketMissing:
        if is_s3(folder):
            raise
        first = None
    if first is not None:
        raise SpecError(f"{folder} is not empty, it holds {first.uri}: name a new folder")


def link_image(path: str, target: str) -> None:
    """Give a local image a second name; raises `SpecError` where that cannot be."""
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    try:
        # A symbolic link that leads out of a dataset's folder is not followed when it is read.
        os.link(os.path.realpath(path), target)
    except OSError as error:
        raise SpecError(
            f"{path} cannot be linked to {target} ({error.strerror}): leave --link out, and images are copied"
        ) from error


def write_sheet(
    source: DatasetSource,
    out: str,
    *,
    access: Access,
    split: str | None = None,
    num: int = 24,
    seed: int = 0,
) -> int:
    """Write a contact sheet of some images with their boxes; returns how many.

    Raises:
        SpecError: for an `out` that is no picture's name, and for no images.
    """
    target = resolve_location(out)
    image_format = SHEET_FORMATS.get(Path(target).suffix.lower())
    if image_format is None:
        raise SpecError(f"{out!r} must end with {', '.join(SHEET_FORMATS)}")
    if num < 1:
        raise SpecError(f"num must be at least 1, got {num}")
    dataset = source.read(split)
    images = choose_images(dataset, num, seed=seed)
    if not images:
        raise SpecError(f"{source.location} has no images that can be shown")
    body = io.BytesIO()
    Image.fromarray(contact_sheet(images, dataset.labels, source.read_image)).save(
        body, image_format, quality=90
    )
    open_store(target, access).put(target, body.getvalue())
    return len(images)
