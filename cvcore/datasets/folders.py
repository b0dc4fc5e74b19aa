"""A folder of images a class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cvcore.datasets.drafts import Look
from cvcore.datasets.files import Files, is_image, read_sizes
from cvcore.datasets.problems import ProblemLog
from cvcore.datasets.records import BoxDataset, ImageRecord, no_boxes


def class_folders(files: Files, split_folders: Sequence[str]) -> tuple[str, ...]:
    """The folders directly below those of all splits that hold images, sorted; they are the classes."""
    found = set()
    for folder in split_folders:
        for name in filter(is_image, files.below(folder)):
            inner = name[len(folder) + 1 if folder else 0 :]
            if "/" in inner:
                found.add(inner.split("/")[0])
    return tuple(sorted(found))


def read_folders(
    files: Files, folders: Sequence[str], labels: Sequence[str], *, log: ProblemLog, look: Look
) -> BoxDataset:
    """Read and check the images in the classes' folders below some folders; `""` is the dataset's.

    Their sizes are always read: nothing else states them.
    """
    index = {label: k for k, label in enumerate(labels)}
    found: dict[str, int] = {}
    for folder in folders:
        for name in filter(is_image, files.below(folder)):
            label, slash, _ = name[len(folder) + 1 if folder else 0 :].partition("/")
            if not slash:
                log.add("annotation_missing", f"{name} is in no class's folder")
            elif label not in index:
                log.add("class_unknown", f"{name}: {label!r}")
            else:
                found[name] = index[label]
    sizes = read_sizes(files, found, log, decode=look == "pixels")
    records = [
        ImageRecord(name, *size, no_boxes(), np.array([found[name]], np.int64))
        for name, size in sizes.items()
        if size is not None
    ]
    return BoxDataset(tuple(records), tuple(labels), task="classes")
