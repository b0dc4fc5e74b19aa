from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score, jaccard_score

from cvcore.metrics import boundaries, segmentation
from cvcore.metrics.boundaries import boundary_f1, boundary_pixels
from cvcore.metrics.segmentation import IGNORED, SegmentationScores, evaluate_maps
from cvcore.metrics.segmentation import confusion_matrix as own_matrix

Map = npt.NDArray[np.integer]


def maps(seed: int, *, num_classes: int = 4, ignored: bool = True) -> tuple[Map, Map]:
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, num_classes, (5, 6))
    truth = np.kron(blocks, np.ones((7, 8), int)).astype(np.uint8)
    found = np.roll(truth, rng.integers(-2, 3, 2), axis=(0, 1))
    noise = rng.random(truth.shape) < 0.05
    found = np.where(noise, rng.integers(0, num_classes, truth.shape), found).astype(np.uint8)
    if ignored:
        truth[:4] = IGNORED
    return truth, found


def test_all_equals_scikit_learn() -> None:
    pairs = [maps(seed) for seed in range(3)]
    found = evaluate_maps(pairs, 4)
    judged = [(t[t != IGNORED], f[t != IGNORED]) for t, f in pairs]
    truth, guess = (np.concatenate([pair[k] for pair in judged]) for k in (0, 1))
    assert found.pixel_accuracy == pytest.approx(accuracy_score(truth, guess))
    assert found.mean_accuracy == pytest.approx(balanced_accuracy_score(truth, guess))
    assert found.mean_iou == pytest.approx(jaccard_score(truth, guess, average="macro"))
    assert found.weighted_iou == pytest.approx(jaccard_score(truth, guess, average="weighted"))
    assert found.mean_dice == pytest.approx(f1_score(truth, guess, average="macro"))
    np.testing.assert_allclose(found.class_iou, jaccard_score(truth, guess, average=None))
    assert found.num_pixels == len(truth)
    np.testing.assert_array_equal(
        sum(own_matrix(t, f, 4) for t, f in pairs), confusion_matrix(truth, guess, labels=range(4))
    )


def test_the_order_of_images_does_not_matter() -> None:
    pairs = [maps(seed) for seed in range(3)]
    scores = SegmentationScores(4)
    for truth, found in reversed(pairs):
        scores.add(truth, found)
    found, expected = scores.result(), evaluate_maps(pairs, 4)
    assert (found.mean_iou, found.class_dice) == (expected.mean_iou, expected.class_dice)
    assert found.boundary_f1 == pytest.approx(expected.boundary_f1)


def test_a_class_that_is_nowhere_counts_in_no_mean() -> None:
    truth, found = maps(0)
    few, many = evaluate_maps([(truth, found)], 4), evaluate_maps([(truth, found)], 7)
    assert few.mean_iou == many.mean_iou
    assert few.boundary_f1 == many.boundary_f1
    assert math.isnan(many.class_iou[6])


def test_a_perfect_map_and_one_that_nothing_judges() -> None:
    truth, _ = maps(0)
    best = evaluate_maps([(truth, np.where(truth == IGNORED, 0, truth))], 4)
    shares = (best.pixel_accuracy, best.mean_accuracy, best.mean_iou, best.weighted_iou, best.mean_dice)
    assert shares == pytest.approx((1,) * 5)
    assert best.boundary_f1 == 1
    assert best.pixel_error == 0
    nothing = evaluate_maps([(np.full_like(truth, IGNORED), truth)], 4)
    assert math.isnan(nothing.mean_iou)
    assert math.isnan(nothing.pixel_accuracy)
    assert nothing.num_pixels == 0


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 1.5, 4.0])
@pytest.mark.parametrize("block_px", [5, 2048])
def test_boundary_f1_equals_distances_of_all_pairs(
    tolerance: float, block_px: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boundaries, "BLOCK_PX", block_px)
    truth, found = maps(1)
    scores = boundary_f1(truth, found, 4, ignored=IGNORED, tolerance_px=tolerance)
    for label in range(4):
        true, own = (_slow_boundary(each, truth, label) for each in (truth, found))
        distances = cdist(true, own)
        recall, precision = ((distances.min(axis=k) <= tolerance).mean() for k in (1, 0))
        assert scores[label] == pytest.approx(2 * precision * recall / (precision + recall))


def test_no_cut_changes_a_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [maps(seed) for seed in range(3)]
    whole = evaluate_maps(pairs, 4)
    monkeypatch.setattr(boundaries, "BLOCK_PX", 7)
    monkeypatch.setattr(segmentation, "BAND_PIXELS", 100)
    assert evaluate_maps(pairs, 4) == whole


def _slow_boundary(own: Map, truth: Map, label: int) -> list[tuple[int, int]]:
    height, width = own.shape
    found = []
    for y in range(height):
        for x in range(width):
            around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            inside = [(a, b) for a, b in around if 0 <= a < height and 0 <= b < width]
            other = any(own[p] != label and truth[p] != IGNORED for p in inside)
            if own[y, x] == label and truth[y, x] != IGNORED and other:
                found.append((y, x))
    return found


def test_boundaries_of_nothing() -> None:
    plain = np.zeros((6, 6), np.uint8)
    spot = plain.copy()
    spot[2:4, 2:4] = 1
    both = boundary_f1(plain, plain, 2, ignored=IGNORED)
    assert np.isnan(both).all()
    missed = boundary_f1(spot, plain, 2, ignored=IGNORED)
    assert missed.tolist() == [0.0, 0.0]
    assert boundary_pixels(spot == 1, np.ones((6, 6), bool)).sum() == 4


@pytest.mark.parametrize(
    ("truth", "found", "message"),
    [
        (np.zeros((2, 2), int), np.zeros((2, 3), int), "one size"),
        (np.full((2, 2), 7), np.zeros((2, 2), int), r"truth must be 0 to 2, got \[7\]"),
        (np.zeros((2, 2), int), np.full((2, 2), IGNORED), r"found must be 0 to 2, got \[255\]"),
    ],
)
def test_maps_that_do_not_fit(truth: Map, found: Map, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        own_matrix(truth, found, 3)
