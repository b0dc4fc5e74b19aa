"""Checking a whole dataset of masks, split by split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cvcore.datasets.files import read_sizes
from cvcore.datasets.masks import check_masks
from cvcore.datasets.problems import Problems
from jobs.masks import MaskSource


@dataclass(frozen=True)
class CheckedMasks:
    """Images with masks by split (`""` alone where there are none), labels and problems."""

    splits: Mapping[str, int]
    labels: tuple[str, ...]
    problems: Problems


def check_mask_dataset(source: MaskSource, *, split: str | None = None) -> CheckedMasks:
    """Read a split, or all of them, and look at every mask.

    Raises:
        SpecError: for a split that is not there, or classes that cannot be told.
    """
    names: Sequence[str | None] = (
        [split] if split is not None else source.splits if source.has_splits else [None]
    )
    counts: dict[str, int] = {}
    labels: tuple[str, ...] = ()
    for name in names:
        dataset = source.read(name)
        sizes = read_sizes(source.files, [record.name for record in dataset.images], source.log)
        check_masks(dataset, source.files, sizes, source.log)
        counts[name or ""], labels = len(dataset.images), dataset.labels
    return CheckedMasks(counts, labels, source.log.problems())
