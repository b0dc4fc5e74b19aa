"""Graph segmentation beside scikit-image's."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.segmentation import felzenszwalb
from sklearn.metrics import adjusted_rand_score

from cvcore.propose.segment import GraphSegmentation, smooth
from cvcore.scenes.scene import render_scene

SCENE = render_scene(7).image[:240, :320]


def segment_by_loops(planes: np.ndarray, k: float, min_size: int) -> list[int]:
    """Felzenszwalb and Huttenlocher's algorithm as it is written; labels in the order of pixels."""
    height, width = planes.shape[:2]
    edges = []
    for y in range(height):
        for x in range(width):
            for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
                if y + dy < height and 0 <= x + dx < width:
                    distance = float(np.linalg.norm(planes[y, x] - planes[y + dy, x + dx]))
                    edges.append((distance, y * width + x, (y + dy) * width + x + dx))
    edges.sort(key=lambda edge: edge[0])  # stable
    regions = [{pixel} for pixel in range(height * width)]
    limits = {id(region): float(k) for region in regions}
    for weight, a, b in edges:
        first, second = regions[a], regions[b]
        if first is not second and weight <= min(limits[id(first)], limits[id(second)]):
            _join(regions, first, second)
            limits[id(first)] = weight + k / len(first)
    for _, a, b in edges:
        first, second = regions[a], regions[b]
        if first is not second and min(len(first), len(second)) < min_size:
            _join(regions, first, second)
    names: dict[int, int] = {}
    return [names.setdefault(id(region), len(names)) for region in regions]


def _join(regions: list[set[int]], first: set[int], second: set[int]) -> None:
    first |= second
    for pixel in second:
        regions[pixel] = first


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("k", "min_size"), [(20, 1), (60, 10)])
def test_regions_equal_those_of_the_algorithm_as_it_is_written(seed: int, k: int, min_size: int) -> None:
    """Levels are whole, so that edges of equal weight stand in the order of pixels in both."""
    levels = np.random.default_rng(seed).integers(0, 60, (20, 24, 1)).astype(np.float32)
    labels = GraphSegmentation(levels).labels(k, min_size=min_size)
    assert labels.reshape(-1).tolist() == segment_by_loops(levels, k, min_size)
    assert 1 < labels.max() < labels.size


@pytest.mark.parametrize("k", [20, 50, 100])
@pytest.mark.parametrize("left", [0, 80, 160])
def test_regions_are_those_of_scikit_image(k: int, left: int) -> None:
    """scikit-image takes edges of equal weight in another order, and scales levels by 255."""
    planes = smooth(SCENE.astype(np.float32), 0.8)[:60, left : left + 80]
    ours = GraphSegmentation(planes).labels(k, min_size=k)
    theirs = felzenszwalb(planes / 255, scale=k, sigma=0, min_size=k, channel_axis=-1)
    assert adjusted_rand_score(theirs.reshape(-1), ours.reshape(-1)) > 0.95


@pytest.mark.parametrize("k", [20, 200])
def test_no_region_is_smaller_than_asked(k: int) -> None:
    labels = GraphSegmentation(smooth(SCENE.astype(np.float32), 0.8)).labels(k, min_size=k)
    sizes = np.bincount(labels.reshape(-1))
    assert sizes.min() >= k


def test_a_larger_scale_gives_fewer_regions() -> None:
    segmentation = GraphSegmentation(smooth(SCENE.astype(np.float32), 0.8))
    counts = [int(segmentation.labels(k, min_size=1).max()) for k in (10, 50, 250)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_squares_of_one_colour_each_are_the_regions() -> None:
    blocks = np.arange(6).reshape(2, 3).repeat(8, axis=0).repeat(8, axis=1)
    labels = GraphSegmentation((blocks * 40.0).astype(np.float32)[..., None]).labels(10, min_size=1)
    assert labels.tolist() == blocks.tolist()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_lines_and_points_are_segmented(shape: tuple[int, int]) -> None:
    labels = GraphSegmentation(np.zeros((*shape, 3), np.float32)).labels(50, min_size=50)
    assert labels.shape == shape
    assert not labels.any()


def test_no_smoothing_changes_nothing() -> None:
    planes = SCENE.astype(np.float32)
    assert smooth(planes, 0) is planes
