"""The splits of a dataset that a model is trained on, and what is refused of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from cvcore.datasets.masks import MaskDataset
from cvcore.datasets.records import BoxDataset
from cvcore.errors import SpecError
from jobs.datasets import DatasetSource, open_dataset
from jobs.masks import MaskSource, open_masks
from jobs.storage import StorageError
from jobs.train_spec import DatasetTrainSpec

MAX_FAILED_FRACTION = 0.1

S = TypeVar("S", DatasetSource, MaskSource)
D = TypeVar("D", BoxDataset, MaskDataset)


@dataclass(frozen=True)
class SplitOf(Generic[S, D]):
    """Images with what is known of them, and where their files are; `name` is for messages."""

    name: str
    source: S
    dataset: D


Split = SplitOf[DatasetSource, BoxDataset]
MaskSplit = SplitOf[MaskSource, MaskDataset]


def read_splits(spec: DatasetTrainSpec, *, measures: bool = True) -> tuple[Split, Split]:
    """What is learned from, and what picks the best epoch.

    Sizes are taken as they are stated: every image is decoded later, which finds what is broken.

    Args:
        spec: of the run.
        measures: whether the second is wanted; a worker that measures nothing gets none of its images.

    Raises:
        SpecError: where one of them is no dataset.
    """
    return _read_splits(
        spec,
        lambda location: open_dataset(location, spec.access, seed=spec.seed),
        lambda source, split: source.read(split, look="names"),
        measures=measures,
    )


def read_mask_splits(spec: DatasetTrainSpec, *, measures: bool = True) -> tuple[MaskSplit, MaskSplit]:
    """The same of datasets of masks."""
    return _read_splits(
        spec,
        lambda location: open_masks(location, spec.access, seed=spec.seed),
        lambda source, split: source.read(split),
        measures=measures,
    )


def _read_splits(
    spec: DatasetTrainSpec,
    open_source: Callable[[str], S],
    read: Callable[[S, str | None], D],
    *,
    measures: bool,
) -> tuple[SplitOf[S, D], SplitOf[S, D]]:
    """A dataset that stands for a split by itself, and has none, is read whole."""

    def opened(location: str) -> S:
        try:
            return open_source(location)
        except StorageError as error:
            raise SpecError(f"{location} is no training data: {error}") from error

    def taken(source: S, split: str) -> SplitOf[S, D]:
        if spec.val_data is not None and not source.has_splits:
            return SplitOf(source.location, source, read(source, None))
        return SplitOf(f"{source.location}, {split}", source, read(source, split))

    train = opened(spec.data)
    held_out = train if spec.val_data is None else opened(spec.val_data)
    if held_out is train and spec.train_split == spec.val_split:
        raise SpecError(f"train_split and val_split are both {spec.val_split!r}: hold some images out")
    judge = taken(held_out, spec.val_split)
    if not measures:
        judge = replace(judge, dataset=replace(judge.dataset, images=()))
    return taken(train, spec.train_split), judge


def check_splits(spec: DatasetTrainSpec, train: SplitOf[S, D], held_out: SplitOf[S, D]) -> None:
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


def cache_shares(spec: DatasetTrainSpec, splits: Sequence[SplitOf[S, D]]) -> list[int]:
    """How many bytes of each split are kept in memory: they share by their images."""
    counts = [len(split.dataset.images) for split in splits]
    return [spec.max_cached_bytes * count // max(1, sum(counts)) for count in counts]


def check_decoded(split: SplitOf[S, D], failures: Mapping[str, int]) -> None:
    """Refuse a split many of whose images are broken, `failures` by why: what is left may be anything."""
    failed, count = sum(failures.values()), len(split.dataset.images)
    if failed > MAX_FAILED_FRACTION * count:
        of_masks = isinstance(split.dataset, MaskDataset) or "mask" in failures
        looks = "--masks" if of_masks else "--images"
        reasons = ", ".join(f"{number:,} {code}" for code, number in sorted(failures.items()))
        raise SpecError(
            f"{failed:,} of {count:,} images of {split.name} cannot be used ({reasons}): "
            f"veedor dataset check {looks} says which"
        )
