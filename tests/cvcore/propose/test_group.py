"""Merging by a heap against trying all pairs again after each merge."""

from __future__ import annotations

import numpy as np
import pytest

from cvcore.propose.group import Measures, group_regions
from cvcore.propose.regions import Regions, describe_regions

MEASURES = {
    "CTSF": Measures(colour=True, texture=True, size=True, fill=True),
    "TSF": Measures(texture=True, size=True, fill=True),
    "C": Measures(colour=True),
    "F": Measures(fill=True),
    "S": Measures(size=True),
}


def random_regions(seed: int, *, height: int = 14, width: int = 16, count: int = 25) -> Regions:
    """Scattered regions of random colours and textures."""
    rng = np.random.default_rng(seed)
    labels = np.unique(rng.integers(0, count, (height, width)), return_inverse=True)[1]
    shape = (height, width)
    colours = rng.integers(0, 25, (*shape, 2)).astype(np.uint8)
    textures = rng.integers(0, 10, (*shape, 2, 8)).astype(np.uint8)
    return describe_regions(labels.reshape(shape).astype(np.int32), colours, textures)


def similarity(a: dict, b: dict, measures: Measures, num_pixels: int) -> float:
    """Equations 1 and 3 to 6, one number at a time."""
    total = 0.0
    for name in ("colour", "texture"):
        if getattr(measures, name):
            shared = 0.0
            for first, second in zip(a[name], b[name], strict=True):
                shared += float(min(first, second))
            total += shared
    size = a["size"] + b["size"]
    if measures.size:
        total += 1.0 - size / num_pixels
    if measures.fill:
        x0, y0, x1, y1 = joined_box(a["box"], b["box"])
        total += 1.0 - ((x1 - x0) * (y1 - y0) - size) / num_pixels
    return total


def joined_box(a: list[int], b: list[int]) -> list[int]:
    return [min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])]


def group_by_trying_all(regions: Regions, measures: Measures) -> tuple[list[list[int]], list[list[int]]]:
    """Merges and boxes of algorithm 1, every similarity computed anew for each merge."""
    parts = {
        i: {
            "size": int(regions.sizes[i]),
            "box": regions.boxes[i].tolist(),
            "colour": regions.colours[i],
            "texture": regions.textures[i],
        }
        for i in range(len(regions))
    }
    pairs = {(int(i), int(j)) for i, j in regions.pairs}
    boxes, merges = [parts[i]["box"] for i in parts], []
    while pairs:
        ranked = [(-similarity(parts[i], parts[j], measures, regions.num_pixels), i, j) for i, j in pairs]
        _, i, j = min(ranked)
        a, b, t = parts[i], parts[j], len(boxes)
        merges.append([i, j])
        weights = [np.float32(a["size"]), np.float32(b["size"])]
        parts[t] = {
            "size": a["size"] + b["size"],
            "box": joined_box(a["box"], b["box"]),
            **{
                name: (weights[0] * a[name] + weights[1] * b[name]) / (weights[0] + weights[1])
                for name in ("colour", "texture")
            },
        }
        boxes.append(parts[t]["box"])
        others = {x for pair in pairs if {i, j} & set(pair) for x in pair} - {i, j}
        pairs = {pair for pair in pairs if not {i, j} & set(pair)} | {(x, t) for x in others}
    return merges, boxes


@pytest.mark.parametrize("measures", MEASURES.values(), ids=list(MEASURES))
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_merging_equals_trying_all_pairs(measures: Measures, seed: int) -> None:
    regions = random_regions(seed)
    merges, boxes = group_by_trying_all(regions, measures)
    found = group_regions(regions, measures)
    assert found.merges.tolist() == merges
    assert found.boxes.tolist() == boxes


def test_n_regions_give_2n_minus_1_boxes_and_the_last_is_the_image() -> None:
    regions = random_regions(3, height=40, width=30, count=200)
    found = group_regions(regions, MEASURES["CTSF"])
    assert len(found.boxes) == 2 * len(regions) - 1
    assert found.boxes[-1].tolist() == [0, 0, 30, 40]
    assert sorted(found.merges.reshape(-1).tolist()) == list(range(2 * len(regions) - 2))


def test_grouping_leaves_its_regions_as_they_were() -> None:
    regions = random_regions(4)
    before = regions.colours.copy(), regions.sizes.copy(), regions.boxes.copy()
    group_regions(regions, MEASURES["CTSF"])
    for kept, now in zip(before, (regions.colours, regions.sizes, regions.boxes), strict=True):
        np.testing.assert_array_equal(kept, now)


def test_one_region_is_the_whole_hierarchy() -> None:
    regions = random_regions(5, count=1)
    found = group_regions(regions, MEASURES["CTSF"])
    assert found.boxes.tolist() == [[0, 0, 16, 14]]
    assert found.merges.shape == (0, 2)


def test_no_similarity_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one similarity"):
        Measures()
