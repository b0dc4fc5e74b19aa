"""The splits of a dataset that a model is trained on, and what is refused of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cvcore.datasets.records import BoxDataset
from cvcore.errors import SpecError
from jobs.datasets import DatasetSource, open_dataset
from jobs.storage import StorageError
from jobs.train_spec import DatasetTrainSpec

MAX_FAILED_FRACTION = 0.1


@dataclass(frozen=True)
class Split:
    """Images with what is known of them, and where their files are; `name` is for messages."""

    name: str
    source: DatasetSource
    dataset: BoxDataset


def read_splits(spec: DatasetTrainSpec) -> tuple[Split, Split]:
    """What is learned from, and what picks the best epoch.

    Raises:
        SpecError: where one of them is no dataset.
    """
    train = _open(spec.data, spec)
    held_out = train if spec.val_data is None else _open(spec.val_data, spec)
    if held_out is train and spec.train_split == spec.val_split:
        raise SpecError(f"train_split and val_split are both {spec.val_split!r}: hold some images out")
    return (
        _split(train, spec.train_split, whole=spec.val_data is not None),
        _split(held_out, spec.val_split, whole=spec.val_data is not None),
    )


def _open(location: str, spec: DatasetTrainSpec) -> DatasetSource:
    try:
        return open_dataset(location, spec.access, seed=spec.seed)
    except StorageError as error:
        raise SpecError(f"{location} is no training data: {error}") from error


def _split(source: DatasetSource, split: str, *, whole: bool) -> Split:
    """A split; of a dataset that stands for one by itself and has none, `whole`, all of it.

    Sizes are taken as they are stated: every image is decoded later, which finds what is broken.
    """
    if whole and not source.has_splits:
        return Split(source.location, source, source.read(look="names"))
    return Split(f"{source.location}, {split}", source, source.read(split, look="names"))


def check_splits(spec: DatasetTrainSpec, train: Split, held_out: Split) -> None:
    """Refuse empty splits, splits of other classes, and fewer images than workers."""
    for split in (train, held_out):
        if not split.dataset.images:
            raise SpecError(f"{split.name} has no images")
    strangers = sorted(set(held_out.dataset.labels) - set(train.dataset.labels))
    if strangers:
        raise SpecError(
            f"{held_out.name} has categories {strangers} that {train.name} does not have; "
            f"those are {sorted(train.dataset.labels)}"
        )
    if len(train.dataset.images) < spec.num_workers:
        raise SpecError(
            f"{spec.num_workers} workers need as many images, {train.name} has {len(train.dataset.images)}"
        )


def check_decoded(split: Split, failures: Mapping[str, int]) -> None:
    """Refuse a split many of whose images are broken, `failures` by why: what is left may be anything."""
    failed, count = sum(failures.values()), len(split.dataset.images)
    if failed > MAX_FAILED_FRACTION * count:
        reasons = ", ".join(f"{number:,} {code}" for code, number in sorted(failures.items()))
        raise SpecError(
            f"{failed:,} of {count:,} images of {split.name} cannot be used ({reasons}): "
            "veedor dataset check --images says which"
        )
