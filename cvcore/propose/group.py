"""Hierarchical grouping (Uijlings et al. 2013, section 3.1, algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from cvcore.propose.regions import Regions

Number = TypeVar("Number", np.int32, np.float32)


@dataclass(frozen=True, slots=True)
class Measures:
    """Which similarities are summed (section 3.2): CTSF is all four, TSF leaves colour out."""

    colour: bool = False
    texture: bool = False
    size: bool = False
    fill: bool = False

    def __post_init__(self) -> None:
        if not any(self.as_tuple()):
            raise ValueError("at least one similarity is needed")

    def as_tuple(self) -> tuple[bool, bool, bool, bool]:
        """In the order of the attributes."""
        return self.colour, self.texture, self.size, self.fill


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """What N regions were merged into.

    Attributes:
        boxes: (2N - 1, 4) int32, xyxy, pixels: the regions first, then what each merge gave, the whole last.
        merges: (N - 1, 2) int32, the numbers of the two regions that became region N, N + 1 and so on.
    """

    boxes: npt.NDArray[np.int32]
    merges: npt.NDArray[np.int32]


def group_regions(regions: Regions, measures: Measures) -> Hierarchy:
    """Merge the two most similar neighbours until one region is left.

    Takes O(E log E) for E pairs of neighbours, those that arise on the way included.
    """
    from cvcore.propose.group_kernels import merge_all

    num = len(regions)
    boxes = _room(regions.boxes)
    # An unused histogram has no columns: nothing of it is mixed.
    colours = regions.colours if measures.colour else regions.colours[:, :0]
    textures = regions.textures if measures.texture else regions.textures[:, :0]
    starts, neighbours = _adjacency(regions.pairs, num)
    merges = merge_all(
        num,
        _room(regions.sizes),
        boxes,
        _room(colours),
        _room(textures),
        starts,
        neighbours,
        measures.as_tuple(),
        regions.num_pixels,
    )
    return Hierarchy(boxes, merges)


def _room(rows: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """A copy with rows for what merges will give."""
    grown = np.zeros((2 * len(rows) - 1, *rows.shape[1:]), rows.dtype)
    grown[: len(rows)] = rows
    return grown


def _adjacency(pairs: npt.NDArray[np.int32], num: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pairs as lists of neighbours: where each region's list begins, (num + 1,), and the lists."""
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    starts = np.searchsorted(both[:, 0], np.arange(num + 1))
    return starts, both[:, 1].astype(np.int64)
