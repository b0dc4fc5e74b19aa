"""Datasets in local folders and in object storage."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, replace

from cvcore.datasets.description import DESCRIPTION_NAMES, Description, Format, parse_description
from cvcore.datasets.drafts import Look
from cvcore.datasets.files import Files, inner_name
from cvcore.datasets.joined import join_datasets
from cvcore.datasets.layout import ROBOFLOW_DOCUMENT, find_layout
from cvcore.datasets.problems import ProblemLog, Problems, merge_problems
from cvcore.datasets.read import DatasetReader
from cvcore.datasets.records import BoxDataset
from cvcore.datasets.splits import ALIASES, DEFAULT_SHARES, split_by_seed
from cvcore.datasets.voc import SETS
from cvcore.datasets.yolo import image_list
from cvcore.errors import SpecError
from jobs.spec import load_yaml
from jobs.storage import Access, Store, is_s3, join, open_store, resolve_location


@dataclass(frozen=True)
class Reading:
    """A dataset, or a split of it, and what was wrong with it."""

    dataset: BoxDataset
    problems: Problems


class DatasetSource:
    """An opened dataset; make it with `open_dataset`.

    Attributes:
        location: its folder.
        format: of its annotations.
        splits: their names: its own or, where it has none, those of the shares, drawn by the seed.
        has_splits: whether they are its own.
    """

    def __init__(
        self,
        location: str,
        store: Store,
        files: Files,
        description: Description,
        *,
        seed: int,
        shares: Mapping[str, float],
    ) -> None:
        self._layout = find_layout(files.names, description)
        self._reader = DatasetReader(files, self._layout)
        self._files = files
        self._store = store
        self._seed, self._shares = seed, dict(shares)
        self._whole: dict[Look, Reading] = {}
        self.location = location
        self.format: Format = self._layout.format
        self.has_splits = bool(self._layout.splits)
        self.splits: tuple[str, ...] = tuple(self._layout.splits if self.has_splits else shares)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all of its files, paths inside its folder."""
        return self._files.names

    def read(self, split: str | None = None, *, strict: bool = False, look: Look = "sizes") -> BoxDataset:
        """Read a split, or everything.

        Args:
            split: one of `splits`, a list of images in the dataset (a `.txt`), or another image set of VOC's.
            strict: whether problems that no correct dataset has are fatal; else see `KINDS` for what is done.
            look: how closely images are looked at.

        Raises:
            SpecError: for a split that is not there, and, if strict, for problems.
        """
        found = self.inspect(split, look=look)
        if strict:
            found.problems.refuse(self.location if split is None else f"{self.location}, {split}")
        return found.dataset

    def inspect(self, split: str | None = None, *, look: Look = "sizes") -> Reading:
        """The same with a report of the problems; none is fatal."""
        if split is None:
            return self._everything(look)
        if split in self._layout.splits:
            return self._entries(self._layout.splits[split], look)
        named = f"{SETS}/{split}.txt"
        if self.format == "voc" and named in self.names:
            return self._entries((named,), look)
        if split.endswith(".txt") and split in self.names:
            return self._listed(split, look)
        if not self.has_splits and split in self._shares:
            return self._drawn(split, look)
        raise SpecError(
            f"{self.location} has no split {split!r}. Splits: {', '.join(self.splits)}; or name a list of "
            "images in it, as lists/small.txt"
        )

    def read_image(self, name: str) -> bytes:
        """The bytes of an image, by its record's name; `SpecError` for a name that leads out."""
        return self._files.read(name)

    def _entries(self, entries: tuple[str, ...], look: Look) -> Reading:
        log = ProblemLog()
        return Reading(self._reader.read(entries, log=log, look=look), log.problems())

    def _everything(self, look: Look) -> Reading:
        if look not in self._whole:
            if self._layout.whole:
                found = self._entries(self._layout.whole, look)
            else:
                parts = [self._entries(entries, look) for entries in self._layout.splits.values()]
                problems = merge_problems(part.problems for part in parts)
                found = Reading(join_datasets([part.dataset for part in parts]), problems)
            self._whole[look] = found
        return self._whole[look]

    def _drawn(self, split: str, look: Look) -> Reading:
        found = self._everything(look)
        where = split_by_seed(
            (image.name for image in found.dataset.images), seed=self._seed, shares=self._shares
        )
        return Reading(
            _taken(found.dataset, {name for name in where if where[name] == split}), found.problems
        )

    def _listed(self, list_name: str, look: Look) -> Reading:
        found = self._everything(look)
        log = ProblemLog()
        wanted = set(image_list(self._files, list_name, log))
        known = {image.name for image in found.dataset.images}
        for name in sorted(wanted - known):
            log.add("image_missing", f"{list_name}: {name}")
        problems = merge_problems([found.problems, log.problems()])
        return Reading(_taken(found.dataset, wanted), problems)


def _taken(dataset: BoxDataset, names: set[str]) -> BoxDataset:
    return replace(dataset, images=tuple(image for image in dataset.images if image.name in names))


def open_dataset(
    location: str,
    access: Access | None = None,
    *,
    seed: int = 0,
    shares: Mapping[str, float] = DEFAULT_SHARES,
) -> DatasetSource:
    """Open a dataset: a folder or prefix in one of the layouts, or a YAML that describes one.

    Args:
        location: local, or `s3://bucket/prefix/`. Of a folder, the `path` in its `dataset.yaml` must stay
            inside of it; a YAML that is named itself may lie elsewhere than its dataset.
        access: to storage.
        seed, shares: see `cvcore.datasets.splits.split_by_seed`; of a dataset without splits.

    Raises:
        SpecError: if it is no dataset.
    """
    folder, store, files, description = open_folder(location, access or Access())
    try:
        return DatasetSource(folder, store, files, description, seed=seed, shares=shares)
    except SpecError as error:
        raise SpecError(f"{folder}: {error}") from error


def open_folder(location: str, access: Access) -> tuple[str, Store, Files, Description]:
    """A dataset's folder, its storage and files, and what describes it; see `open_dataset`."""
    folder = resolve_location(location).rstrip("/")
    described: str | None = None
    description = Description()
    if folder.lower().endswith((".yaml", ".yml")):
        described = folder
        description = _read_description(described, access)
        folder = _named_folder(described, description.path)
    store = open_store(folder, access.within(folder))
    names = list_names(store, folder)
    if described is None:
        found = next((name for name in DESCRIPTION_NAMES if name in names), None)
        if found is not None:
            description = _read_description(join(folder, found), access.within(folder))
            folder, names = _inner_folder(folder, names, description.path)
    return folder, store, open_files(store, folder, names), description


def _read_description(location: str, access: Access) -> Description:
    body = open_store(location, access).read(location)
    text = body.decode("utf-8-sig", errors="replace")
    return parse_description(load_yaml(text, name=location), location)


def _named_folder(yaml: str, path: str | None) -> str:
    """The folder of a dataset whose YAML was named."""
    beside = yaml.rpartition("/")[0] or "/"
    if path is None:
        return beside
    if is_s3(path) or path.startswith("/"):
        return resolve_location(path).rstrip("/")
    if not is_s3(beside):
        return posixpath.normpath(join(beside, path))
    inner = inner_name(path)
    if inner is None:
        raise SpecError(
            f"{yaml}: path is {path!r}; in object storage, name a folder below it or s3://bucket/prefix"
        )
    return beside if inner == "." else join(beside, inner)


def _inner_folder(folder: str, names: tuple[str, ...], path: str | None) -> tuple[str, tuple[str, ...]]:
    """The folder that a YAML inside of it means: exports often name one of the machine that made them."""
    inner = None if path is None else inner_name(path)
    if inner is None or inner == ".":
        return folder, names
    below = tuple(name.removeprefix(f"{inner}/") for name in names if name.startswith(f"{inner}/"))
    return (join(folder, inner), below) if below else (folder, names)


def list_names(store: Store, folder: str) -> tuple[str, ...]:
    """Names of all files below a dataset's folder, sorted."""
    prefix = folder.rstrip("/") + "/"
    names = [info.uri.removeprefix(prefix) for info in store.walk(prefix if is_s3(folder) else folder)]
    inside = [name for name in names if inner_name(name) == name]
    # Listings leave out names that begin with an underscore, and one exporter's documents do.
    hidden = (f"{split}/{ROBOFLOW_DOCUMENT}" for split in ALIASES)
    there = {name.split("/")[0] for name in inside}
    inside += [name for name in hidden if name.split("/")[0] in there and store.exists(prefix + name)]
    return tuple(sorted(inside))


def open_files(store: Store, folder: str, names: tuple[str, ...]) -> Files:
    """A dataset's folder as its readers take it."""

    def location(name: str) -> str:
        inner = inner_name(name)
        if inner is None:
            raise SpecError(f"{name!r} is no name inside {folder}")
        return join(folder, inner)

    def read_start(name: str, num_bytes: int) -> bytes:
        with store.open(location(name)) as file:
            return file.read(num_bytes)

    return Files(names, lambda name: store.read(location(name)), read_start)
