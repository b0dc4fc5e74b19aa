"""Which images a person should look at first."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, get_args

from jobs.export.rows import ExportRow

Order = Literal["uncertain", "rare", "random"]
ORDERS: tuple[Order, ...] = get_args(Order)

Rows = Callable[[], Iterator[ExportRow]]
"""Reads a run's rows again, those that were looked at, without masks."""


def choose(rows: Rows, order: Order, *, limit: int, seed: int) -> dict[int, float]:
    """The first `limit` images of a queue: their ordinals in its order, each with its priority, 0 to 1.

    Ties are broken by a draw, so that a queue is not the run's beginning.

    Args:
        rows: is called once, or twice for `rare`, which counts labels first.
        order: `uncertain` takes the most doubtful detections first, `rare` the rarest labels, `random` draws.
        limit: of images; so many keys are held.
        seed: of the draw.
    """
    counts = label_counts(rows()) if order == "rare" else Counter[str]()

    def keyed() -> Iterator[tuple[float, float, int]]:
        for row in rows():
            drawn = draw(row, seed)
            if order == "random":
                priority = drawn
            elif order == "rare":
                priority = rarity([found.label for found in row.found or ()], counts)
            else:
                priority = doubt(found.score for found in row.found or ())
            yield priority, drawn, row.ordinal

    return {ordinal: priority for priority, _, ordinal in heapq.nlargest(limit, keyed())}


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


def draw(row: ExportRow, seed: int) -> float:
    """A number from 0 to 1 that the image and the seed decide alone."""
    digest = hashlib.sha256(f"{seed}/{row.uri}/{row.frame_index}".encode()).digest()
    return int.from_bytes(digest[:7]) / 2**56
