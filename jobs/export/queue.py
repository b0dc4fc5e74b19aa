"""Which images a person should look at first."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, get_args

from jobs.export.rows import ExportRow

Order = Literal["uncertain", "rare", "random", "disagreement"]
ORDERS: tuple[Order, ...] = get_args(Order)

Rows = Callable[[], Iterator[ExportRow]]
"""Reads a run's rows again, those that were looked at, without masks."""

GROWTH = 4
"""How many times as many images are looked at again where too many were alike."""


class Entry(NamedTuple):
    """An image that may be in a queue, the first the greatest: `priority` is 0 to 1, `drawn` breaks ties, so
    that a queue is not the run's beginning; `ordinal` counts the run's rows from 1."""

    priority: float
    drawn: float
    ordinal: int
    uri: str
    frame_index: int


class Queued(NamedTuple):
    """An image in a queue, and how many that are like it were left out because of it."""

    entry: Entry
    num_alike: int


Entries = Callable[[], Iterable[Entry]]
Distinct = Callable[[Sequence[Entry], int], list[Queued]]
"""Of entries in a queue's order, the first so many that are not alike."""


def choose(entries: Entries, *, limit: int, distinct: Distinct | None = None) -> list[Queued]:
    """The first `limit` images of a queue, in its order.

    So many are held; where those that are alike are left out, `GROWTH` times as many, and again as many times
    until there are enough.

    Args:
        entries: all of them, in any order; called for each try.
        limit: of images.
        distinct: leaves out what is alike; None takes all.
    """
    if distinct is None:
        return [Queued(entry, 0) for entry in heapq.nlargest(limit, entries())]
    num = GROWTH * limit
    while True:
        first = heapq.nlargest(num, entries())
        kept = distinct(first, limit)
        if len(kept) == limit or len(first) < num:
            return kept
        num *= GROWTH


def row_entries(rows: Rows, order: Order, *, seed: int) -> Entries:
    """Entries of a run's own orders.

    Args:
        rows: is called once a try, and once more for `rare`, which counts labels first.
        order: `uncertain` takes the most doubtful detections first, `rare` the rarest labels, `random` draws.
        seed: of the draw.
    """
    counts = label_counts(rows()) if order == "rare" else Counter[str]()

    def entries() -> Iterator[Entry]:
        for row in rows():
            found = row.found or ()
            drawn = draw(row.uri, row.frame_index, seed)
            if order == "random":
                priority = drawn
            elif order == "rare":
                priority = rarity([each.label for each in found], counts)
            else:
                priority = doubt(each.score for each in found)
            yield make_entry(priority, drawn, row.ordinal, row.uri, row.frame_index)

    return entries


def make_entry(priority: float, drawn: float, ordinal: int, uri: str, frame_index: int | None) -> Entry:
    """An entry; of an image the frame is -1."""
    return Entry(priority, drawn, ordinal, uri, -1 if frame_index is None else frame_index)


def doubt(scores: Iterable[float | None]) -> float:
    """How doubtful the most doubtful detection is: 1 at a score of 0.5, 0 at 0 and 1, and of none at all.

    The least certain prediction of a pool is the one to ask about: Lewis and Gale 1994, section 4.
    """
    return max((1 - abs(2 * score - 1) for score in scores if score is not None), default=0.0)


def rarity(labels: Iterable[str], counts: Counter[str]) -> float:
    """1 over how often the rarest of some labels is in the run; 0 of none."""
    return max((1 / counts[label] for label in labels), default=0.0)


def label_counts(rows: Iterable[ExportRow]) -> Counter[str]:
    """How often each label was found."""
    return Counter(found.label for row in rows for found in row.found or ())


def draw(uri: str, frame_index: int | None, seed: int) -> float:
    """A number from 0 to 1 that the image and the seed decide alone."""
    digest = hashlib.sha256(f"{seed}/{uri}/{frame_index}".encode()).digest()
    return int.from_bytes(digest[:7]) / 2**56
