"""Datasets of masks in local folders and in object storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cvcore.datasets.mask_layout import find_masks, read_masks
from cvcore.datasets.masks import MaskDataset, MaskLoader
from cvcore.datasets.problems import ProblemLog
from cvcore.datasets.splits import DEFAULT_SHARES, split_by_seed
from cvcore.errors import SpecError
from jobs.datasets import open_folder
from jobs.storage import Access


class MaskSource:
    """An opened dataset of masks; make it with `open_masks`.

    Attributes:
        location: its folder.
        files: of it.
        splits: their names: its own or, where it has none, those of the shares, drawn by the seed.
        has_splits: whether they are its own.
        log: of what was wrong so far.
    """

    def __init__(
        self, location: str, access: Access, *, seed: int = 0, shares: Mapping[str, float] = DEFAULT_SHARES
    ) -> None:
        self.location, _, self.files, self._description = open_folder(location, access)
        try:
            self._layout = find_masks(self.files, self._description)
        except SpecError as error:
            raise SpecError(f"{self.location}: {error}") from error
        own = [split for split in self._layout.splits if split != "all"]
        self.has_splits = bool(own)
        self.splits = tuple(own or shares)
        self._seed, self._shares = seed, dict(shares)
        self.log = ProblemLog()

    def read(self, split: str | None = None) -> MaskDataset:
        """Read a split, or everything.

        Raises:
            SpecError: for a split that is not there, or classes that cannot be told.
        """
        if split is not None and split not in self.splits:
            raise SpecError(f"{self.location} has no split {split!r}. Splits: {', '.join(self.splits)}")
        own = split if self.has_splits else None
        found = read_masks(self.files, self._layout, self._description, own, log=self.log)
        if split is None or self.has_splits:
            return found
        names = (record.name for record in found.images)
        drawn = split_by_seed(names, seed=self._seed, shares=self._shares)
        return replace(found, images=tuple(r for r in found.images if drawn[r.name] == split))

    def loader(self, dataset: MaskDataset) -> MaskLoader:
        """What gives the masks of a dataset that was read here."""
        return MaskLoader(self.files, dataset.values, self.log)


def open_masks(location: str, access: Access | None = None, *, seed: int = 0) -> MaskSource:
    """Open a dataset of masks: a folder or prefix in one of the layouts, or a YAML that describes one.

    Raises:
        SpecError: if it holds no masks.
    """
    return MaskSource(location, access or Access(), seed=seed)
