"""The images of two runs side by side, whichever order and however many they are."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from cvcore.errors import SpecError
from jobs.export.facts import read_facts
from jobs.export.rows import Choice, Found
from jobs.export.writer import Facts
from jobs.query.row_index import RowIndex, create_index, fill_rows, seal
from jobs.report.run import Run, read_run
from jobs.storage import Access, Store, open_store, resolve_location

CHUNK_IMAGES = 1024


@dataclass(frozen=True, slots=True)
class IndexedRun:
    """A run that is asked by image."""

    run: Run
    facts: Facts
    store: Store
    index: RowIndex


@dataclass(frozen=True, slots=True)
class PairedImage:
    """An image of both runs.

    Attributes:
        one, other: its rows, see `jobs.query.row_index.IMAGE_COLUMNS`.
        found_one, found_other: what was found, as chosen; None where the image was not looked at.
    """

    one: dict[str, Any]
    other: dict[str, Any]
    found_one: tuple[Found, ...] | None
    found_other: tuple[Found, ...] | None

    @property
    def is_same_version(self) -> bool:
        """Whether both runs looked at the same version of the image."""
        return bool(self.one["etag"] == self.other["etag"])


@contextlib.contextmanager
def index_run(uri: str, *, access: Access, partial: bool = False) -> Iterator[IndexedRun]:
    """Open a run and index its rows, until the block ends.

    Raises:
        SpecError: if it is no run, holds no detections, or is not finished (unless `partial`).
    """
    location = resolve_location(uri).rstrip("/")
    store = open_store(location, access)
    run = read_run(location, store)
    facts = read_facts(run, store, partial=partial)
    with tempfile.TemporaryDirectory(prefix="veedor-index-") as folder:
        connection = create_index(Path(folder))
        with contextlib.closing(RowIndex(connection)) as index:
            fill_rows(connection, run, store)
            seal(connection)
            yield IndexedRun(run, facts, store, index)


@dataclass(slots=True)
class Unpaired:
    """How many images are in one run alone."""

    one: int = 0
    other: int = 0


def pair_images(
    one: IndexedRun, other: IndexedRun, *, choice: Choice, unpaired: Unpaired | None = None
) -> Iterator[PairedImage]:
    """The images that both runs have, in the order of their locations; few are in memory at a time.

    Args:
        one, other: the runs.
        choice: of the detections of both.
        unpaired: counts the images of one run alone.

    Raises:
        SpecError: if they have no image in common.
    """
    unpaired = Unpaired() if unpaired is None else unpaired
    pairs = _merge(one.index.keys(), other.index.keys(), unpaired)
    num = 0
    while chunk := list(islice(pairs, CHUNK_IMAGES)):
        num += len(chunk)
        yield from _read(one.index, other.index, chunk, choice)
    if not num:
        raise SpecError(
            f"{one.run.uri} and {other.run.uri} have no image in common: they are of {one.facts.source} and "
            f"{other.facts.source}, and images are known by their locations"
        )


Key = tuple[str, int, int]


def _merge(ones: Iterator[Key], others: Iterator[Key], unpaired: Unpaired) -> Iterator[tuple[int, int]]:
    """Ordinals of the keys that both have; keys come in their order."""
    a, b = next(ones, None), next(others, None)
    while a is not None and b is not None:
        if a[:2] == b[:2]:
            yield a[2], b[2]
            a, b = next(ones, None), next(others, None)
        elif a[:2] < b[:2]:
            unpaired.one += 1
            a = next(ones, None)
        else:
            unpaired.other += 1
            b = next(others, None)
    unpaired.one += (a is not None) + sum(1 for _ in ones)
    unpaired.other += (b is not None) + sum(1 for _ in others)


def _read(
    one: RowIndex, other: RowIndex, pairs: Sequence[tuple[int, int]], choice: Choice
) -> Iterator[PairedImage]:
    ones, others = [a for a, _ in pairs], [b for _, b in pairs]
    images = one.images(ones), other.images(others)
    objects = one.objects(ones), other.objects(others)
    for a, b in pairs:
        row_one, row_other = images[0][a], images[1][b]
        yield PairedImage(
            row_one,
            row_other,
            _chosen(row_one, objects[0][a], choice),
            _chosen(row_other, objects[1][b], choice),
        )


def _chosen(row: dict[str, Any], found: Sequence[Found], choice: Choice) -> tuple[Found, ...] | None:
    if row["num_detections"] is None:
        return None
    return tuple(each for each in found if choice.takes(each.label, each.score))
