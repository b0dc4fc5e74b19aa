"""Reading datasets of any format into one form, checked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from cvcore.datasets.coco import read_coco
from cvcore.datasets.drafts import Look
from cvcore.datasets.files import Files
from cvcore.datasets.folders import class_folders, read_folders
from cvcore.datasets.layout import Layout
from cvcore.datasets.problems import ProblemLog
from cvcore.datasets.records import BoxDataset
from cvcore.datasets.voc import VocReader
from cvcore.datasets.yolo import read_yolo
from cvcore.errors import SpecError

CLASSES_NAMES = ("classes.txt", "obj.names", "labels/classes.txt")


class DatasetReader:
    """Reads a dataset's splits; what they have in common is read once."""

    def __init__(self, files: Files, layout: Layout) -> None:
        self._files = files
        self._layout = layout

    def read(self, entries: Sequence[str], *, log: ProblemLog, look: Look) -> BoxDataset:
        """Read and check what a layout's entries name.

        Raises:
            SpecError: for a document or list that cannot be read at all, or classes without names.
        """
        dataset = self._read(entries, log, look)
        used = {int(k) for image in dataset.images for k in np.unique(image.label_ids)}
        for k, label in enumerate(dataset.labels):
            if k not in used:
                log.add("class_unused", label)
        return dataset

    def _read(self, entries: Sequence[str], log: ProblemLog, look: Look) -> BoxDataset:
        names = self._layout.names
        if self._layout.format == "coco":
            return read_coco(self._files, entries[0], names, log=log, look=look)
        if self._layout.format == "voc":
            return self._voc.read(self._lines(entries), log=log, look=look)
        if self._layout.format == "yolo":
            return read_yolo(self._files, entries, names or self._yolo_names, log=log, look=look)
        return read_folders(self._files, entries, names or self._class_folders, log=log, look=look)

    @cached_property
    def _voc(self) -> VocReader:
        return VocReader(self._files, self._layout.names)

    def _lines(self, entries: Sequence[str]) -> list[str] | None:
        if "" in entries:
            return None
        try:
            texts = [self._files.read(entry).decode("utf-8-sig") for entry in entries]
        except UnicodeDecodeError as error:
            raise SpecError(f"{', '.join(entries)}: a list of images is UTF-8 text, a name a line") from error
        return [line.strip() for text in texts for line in text.splitlines() if line.strip()]

    @cached_property
    def _yolo_names(self) -> tuple[str, ...]:
        name = next((name for name in CLASSES_NAMES if name in self._files.names), None)
        if name is None:
            raise SpecError(
                "the classes have no names: write a dataset.yaml beside images/ with `names: [first, "
                "second]`, or a classes.txt with one a line"
            )
        lines = self._files.read(name).decode("utf-8-sig", errors="replace").rstrip().splitlines()
        names = tuple(line.strip() for line in lines)
        if not all(names) or len(set(names)) != len(names):
            raise SpecError(f"{name} must have one name a line, each another: the n-th is class n - 1")
        return names

    @cached_property
    def _class_folders(self) -> tuple[str, ...]:
        splits = [entry for entries in self._layout.splits.values() for entry in entries]
        return class_folders(self._files, splits or list(self._layout.whole))
