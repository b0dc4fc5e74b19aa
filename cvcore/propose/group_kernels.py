"""Greedy merging of neighbouring regions, compiled."""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

from cvcore.propose.compiled import compiled
from cvcore.propose.segment_kernels import find

Ints = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@compiled
def overlap(histograms: Floats, i: int, j: int) -> float:
    """Histogram intersection (equations 1 and 3)."""
    total = 0.0
    for d in range(histograms.shape[1]):
        total += min(histograms[i, d], histograms[j, d])
    return total


@compiled
def similarity(
    i: int,
    j: int,
    sizes: Ints,
    boxes: Ints,
    colours: Floats,
    textures: Floats,
    measures: tuple[bool, bool, bool, bool],
    num_pixels: int,
) -> float:
    """The sum of colour, texture, size and fill (equations 1 and 3 to 6) that `measures` asks for."""
    total = 0.0
    if measures[0]:
        total += overlap(colours, i, j)
    if measures[1]:
        total += overlap(textures, i, j)
    size = sizes[i] + sizes[j]
    if measures[2]:
        total += 1.0 - size / num_pixels
    if measures[3]:
        width = max(boxes[i, 2], boxes[j, 2]) - min(boxes[i, 0], boxes[j, 0])
        height = max(boxes[i, 3], boxes[j, 3]) - min(boxes[i, 1], boxes[j, 1])
        total += 1.0 - (width * height - size) / num_pixels
    return total


@compiled
def mix(histograms: Floats, i: int, j: int, t: int, sizes: Ints) -> None:
    """Region t's histogram of those of i and j (equation 2)."""
    for d in range(histograms.shape[1]):
        weighed = sizes[i] * histograms[i, d] + sizes[j] * histograms[j, d]
        histograms[t, d] = weighed / (sizes[i] + sizes[j])


@compiled
def merge_all(
    num: int,
    sizes: Ints,
    boxes: Ints,
    colours: Floats,
    textures: Floats,
    starts: Indices,
    neighbours: Indices,
    measures: tuple[bool, bool, bool, bool],
    num_pixels: int,
) -> Ints:
    """Merge the most similar neighbours until one region is left; returns the pairs, (num - 1, 2).

    `sizes`, `boxes` and histograms have 2 num - 1 rows, of which the first num are given and the others are
    filled in. Neighbours of region i are neighbours[starts[i]:starts[i + 1]]; they must connect all regions.
    Ties go to the pair of the lowest numbers.
    """
    total = 2 * num - 1
    merged = np.empty((num - 1, 2), np.int32)
    parents = np.arange(total)
    seen_by = np.full(total, -1, np.int32)
    begins, ends = np.zeros(total, np.int64), np.zeros(total, np.int64)
    pool = np.empty(max(16, 4 * len(neighbours)), np.int64)
    pool[: len(neighbours)] = neighbours
    used = len(neighbours)
    heap = [(0.0, 0, 0) for _ in range(0)]
    for i in range(num):
        begins[i], ends[i] = starts[i], starts[i + 1]
        for place in range(starts[i], starts[i + 1]):
            j = int(neighbours[place])
            if i < j:
                near = similarity(i, j, sizes, boxes, colours, textures, measures, num_pixels)
                heap.append((-near, i, j))
    heapq.heapify(heap)
    t = num
    while t < total:
        _, i, j = heapq.heappop(heap)
        if parents[i] != i or parents[j] != j:  # one of the two is part of another region by now
            continue
        merged[t - num, 0], merged[t - num, 1] = i, j
        parents[i], parents[j] = t, t
        mix(colours, i, j, t, sizes)
        mix(textures, i, j, t, sizes)
        sizes[t] = sizes[i] + sizes[j]
        for d in range(2):
            boxes[t, d] = min(boxes[i, d], boxes[j, d])
            boxes[t, d + 2] = max(boxes[i, d + 2], boxes[j, d + 2])
        begins[t] = used
        room = used + ends[i] - begins[i] + ends[j] - begins[j]
        if room > len(pool):
            grown = np.empty(2 * room, np.int64)
            grown[:used] = pool[:used]
            pool = grown
        for old in (i, j):
            for place in range(begins[old], ends[old]):
                other = find(parents, pool[place])
                if other != t and seen_by[other] != t:
                    seen_by[other] = t
                    pool[used] = other
                    used += 1
                    near = similarity(other, t, sizes, boxes, colours, textures, measures, num_pixels)
                    heapq.heappush(heap, (-near, other, t))
        ends[t] = used
        t += 1
    return merged
