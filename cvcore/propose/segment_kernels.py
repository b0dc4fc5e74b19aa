"""The loops over pixels and edges of graph segmentation, compiled."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cvcore.propose.compiled import compiled

NUM_KEYS = 65_536
# So that the longest distance between colours, 255 times the root of 3, has the last key.
KEYS_PER_LEVEL = (NUM_KEYS - 1) / 441.7

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


@compiled
def sorted_edges(planes: Floats) -> tuple[Ints, Ints, Floats]:
    """Edges between 8-neighbours of (H, W, C) by their weight, the distance of colours: ends and weights.

    The order is that of weights in 65,536 steps.
    """
    height, width, channels = planes.shape
    num = height * (width - 1) + (height - 1) * width + 2 * (height - 1) * (width - 1)
    first, second = np.empty(num, np.int32), np.empty(num, np.int32)
    weights, keys = np.empty(num, np.float32), np.empty(num, np.int32)
    starts = np.zeros(NUM_KEYS + 1, np.int64)
    at = 0
    for y in range(height):
        for x in range(width):
            for direction in range(4):  # right, down, down right, down left
                dy = 0 if direction == 0 else 1
                dx = (1, 0, 1, -1)[direction]
                if y + dy >= height or x + dx >= width or x + dx < 0:
                    continue
                total = np.float32(0)
                for c in range(channels):
                    difference = planes[y, x, c] - planes[y + dy, x + dx, c]
                    total += difference * difference
                weight = np.sqrt(total)
                key = min(int(weight * KEYS_PER_LEVEL), NUM_KEYS - 1)
                first[at], second[at] = y * width + x, (y + dy) * width + x + dx
                weights[at], keys[at] = weight, key
                starts[key + 1] += 1
                at += 1
    for key in range(NUM_KEYS):
        starts[key + 1] += starts[key]
    a, b, w = np.empty(num, np.int32), np.empty(num, np.int32), np.empty(num, np.float32)
    for edge in range(num):
        place = starts[keys[edge]]
        starts[keys[edge]] += 1
        a[place], b[place], w[place] = first[edge], second[edge], weights[edge]
    return a, b, w


@compiled
def find(parents: npt.NDArray[np.signedinteger], node: int) -> int:
    """The root of a node's tree, whose paths are halved on the way."""
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = int(parents[node])
    return node


@compiled
def join_edges(a: Ints, b: Ints, w: Floats, num_nodes: int, k: float, min_size: int) -> tuple[Ints, int]:
    """Labels, (num_nodes,) from 0 in the order of nodes, and their number."""
    parents = np.arange(num_nodes).astype(np.int32)
    sizes = np.ones(num_nodes, np.int32)
    limits = np.full(num_nodes, k, np.float32)  # Int(C) + k / |C|
    for edge in range(len(w)):
        i, j = find(parents, a[edge]), find(parents, b[edge])
        if i != j and w[edge] <= limits[i] and w[edge] <= limits[j]:
            if sizes[i] < sizes[j]:
                i, j = j, i
            parents[j] = i
            sizes[i] += sizes[j]
            limits[i] = w[edge] + k / sizes[i]
    for edge in range(len(w)):
        i, j = find(parents, a[edge]), find(parents, b[edge])
        if i != j and (sizes[i] < min_size or sizes[j] < min_size):
            if sizes[i] < sizes[j]:
                i, j = j, i
            parents[j] = i
            sizes[i] += sizes[j]
    labels, names = np.empty(num_nodes, np.int32), np.full(num_nodes, -1, np.int32)
    count = 0
    for node in range(num_nodes):
        root = find(parents, node)
        if names[root] < 0:
            names[root] = count
            count += 1
        labels[node] = names[root]
    return labels, count
