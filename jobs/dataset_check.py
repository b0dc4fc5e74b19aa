"""Checking a whole dataset, split by split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cvcore.datasets.drafts import Look
from cvcore.datasets.joined import joined_labels
from cvcore.datasets.problems import ProblemLog, Problems, merge_problems
from jobs.datasets import DatasetSource, Reading


@dataclass(frozen=True)
class SplitCount:
    """What a split holds after the checks."""

    num_images: int
    num_boxes: int


@dataclass(frozen=True)
class Checked:
    """A dataset's splits, labels and problems; `splits` has `""` alone where there are none."""

    splits: Mapping[str, SplitCount]
    labels: tuple[str, ...]
    problems: Problems


def check_dataset(source: DatasetSource, *, split: str | None = None, look: Look = "sizes") -> Checked:
    """Read a split, or all of them, and say what is wrong, images that are in two splits too."""
    if split is not None:
        readings = {split: source.inspect(split, look=look)}
    elif source.has_splits:
        readings = {name: source.inspect(name, look=look) for name in source.splits}
    else:
        readings = {"": source.inspect(look=look)}
    datasets = [reading.dataset for reading in readings.values()]
    labels = joined_labels(datasets)
    reports = [reading.problems for reading in readings.values()]
    return Checked(
        {name: SplitCount(len(r.dataset.images), r.dataset.num_boxes) for name, r in readings.items()},
        labels,
        merge_problems([*reports, _shared_images(readings)]),
    )


def _shared_images(readings: Mapping[str, Reading]) -> Problems:
    log = ProblemLog()
    first: dict[str, str] = {}
    for split, reading in readings.items():
        for image in reading.dataset.images:
            if first.setdefault(image.name, split) != split:
                log.add("image_in_two_splits", f"{image.name}: {first[image.name]} and {split}")
    return log.problems()
