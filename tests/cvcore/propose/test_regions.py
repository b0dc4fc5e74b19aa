"""What is measured of regions, against loops over pixels."""

from __future__ import annotations

import numpy as np
import pytest

from cvcore.propose.regions import colour_bins, describe_regions, neighbour_pairs, texture_bins

RNG = np.random.default_rng(5)
LABELS = np.unique(RNG.integers(0, 6, (13, 17)), return_inverse=True)[1].reshape(13, 17).astype(np.int32)
PLANES = RNG.uniform(0, 255, (13, 17, 3)).astype(np.float32)


def naive_histogram(bins: np.ndarray, label: int, num_bins: int) -> np.ndarray:
    """Of a region's pixels over the columns of (H, W, ...) bins, as it is defined."""
    columns = bins.reshape(*bins.shape[:2], -1)
    counts = np.zeros((columns.shape[2], num_bins))
    for y in range(columns.shape[0]):
        for x in range(columns.shape[1]):
            if LABELS[y, x] == label:
                for column, level in enumerate(columns[y, x]):
                    counts[column, level] += 1
    return counts.reshape(-1) / counts.sum()


def test_histograms_equal_loops_over_pixels() -> None:
    colours, textures = colour_bins(PLANES), texture_bins(PLANES)
    regions = describe_regions(LABELS, colours, textures)
    assert regions.colours.shape == (6, 75)
    assert regions.textures.shape == (6, 240)
    for label in range(6):
        np.testing.assert_allclose(regions.colours[label], naive_histogram(colours, label, 25), atol=1e-6)
        np.testing.assert_allclose(regions.textures[label], naive_histogram(textures, label, 10), atol=1e-6)


def test_sizes_and_boxes_are_those_of_the_masks() -> None:
    regions = describe_regions(LABELS, colour_bins(PLANES), texture_bins(PLANES))
    assert regions.num_pixels == LABELS.size
    for label in range(6):
        rows, columns = np.nonzero(label == LABELS)
        assert regions.sizes[label] == len(rows)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert regions.boxes[label].tolist() == box


def test_neighbours_share_a_side() -> None:
    labels = np.array([[0, 0, 1], [2, 2, 1], [2, 3, 3]], np.int32)
    assert neighbour_pairs(labels).tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    assert neighbour_pairs(np.zeros((4, 4), np.int32)).shape == (0, 2)


@pytest.mark.parametrize(
    ("level", "expected"), [(0, 0), (10.23, 0), (10.25, 1), (245.7, 23), (246, 24), (255, 24)]
)
def test_colours_fall_into_25_bins(level: float, expected: int) -> None:
    assert colour_bins(np.full((1, 1, 1), level, np.float32)).item() == expected


def test_a_ramp_is_steepest_along_itself() -> None:
    """Brighter to the right: orientation 0 (right) has the top bin, its opposite (4) nothing."""
    ramp = np.repeat(np.arange(9, dtype=np.float32)[None], 9, axis=0)[..., None]
    bins = texture_bins(ramp)[4, 4, 0].tolist()
    assert bins[0] == 9
    assert bins[1] == bins[7] == 7  # 0.707 of the steepest: right down, and the opposite of left down
    assert bins[2] == bins[4] == bins[6] == 0


def test_a_flat_image_has_no_texture() -> None:
    assert not texture_bins(np.full((5, 4, 3), 9, np.float32)).any()
