"""Several datasets as one: labels joined by name, images by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cvcore.datasets.records import BoxDataset, ImageRecord


def with_labels(dataset: BoxDataset, labels: Sequence[str]) -> BoxDataset:
    """The same dataset with its classes numbered as `labels`, which have all of its own among them.

    Raises:
        ValueError: if one is not.
    """
    if missing := sorted(set(dataset.labels) - set(labels)):
        raise ValueError(f"labels {missing} are not among {list(labels)}")
    numbers = np.array([list(labels).index(label) for label in dataset.labels], np.int64)
    images = tuple(replace(image, label_ids=numbers[image.label_ids]) for image in dataset.images)
    known = dict(zip(dataset.labels, dataset.label_details, strict=False))
    details = tuple(known.get(label, {}) for label in labels) if dataset.label_details else ()
    return replace(dataset, images=images, labels=tuple(labels), label_details=details)


def joined_labels(datasets: Sequence[BoxDataset]) -> tuple[str, ...]:
    """All labels, in the order in which they first come."""
    return tuple(dict.fromkeys(label for dataset in datasets for label in dataset.labels))


def join_datasets(datasets: Sequence[BoxDataset]) -> BoxDataset:
    """All images once; where a name comes again, the first one stands.

    Raises:
        ValueError: for none at all.
    """
    if not datasets:
        raise ValueError("there must be at least one dataset")
    labels = joined_labels(datasets)
    images: dict[str, ImageRecord] = {}
    for dataset in datasets:
        for image in with_labels(dataset, labels).images:
            images.setdefault(image.name, image)
    known = {label: facts for d in datasets for label, facts in zip(d.labels, d.label_details, strict=False)}
    details = tuple(known.get(label, {}) for label in labels) if known else ()
    return replace(datasets[0], images=tuple(images.values()), labels=labels, label_details=details)
