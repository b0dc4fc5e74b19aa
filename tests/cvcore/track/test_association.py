"""Overlap and assignment, against torchvision and against trying all pairings."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from cvcore.track.association import associate, gains, iou_matrix, reaches_of

LEAST = np.array(0.3)


def boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corner = rng.uniform(0, 50, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(0, 40, (count, 2))], axis=1)


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0), (1, 1), (7, 5)])
def test_overlap_is_torchvisions(n: int, m: int) -> None:
    rng = np.random.default_rng(n * 10 + m)
    first, second = boxes(rng, n), boxes(rng, m)
    expected = box_iou(torch.from_numpy(first), torch.from_numpy(second)).numpy()
    np.testing.assert_allclose(iou_matrix(first, second), expected, atol=1e-12)


def test_boxes_without_area_overlap_nothing() -> None:
    point = np.array([[3.0, 3.0, 3.0, 3.0]])
    assert iou_matrix(point, point).tolist() == [[0.0]]


@pytest.mark.parametrize("seed", range(30))
def test_no_pairing_gains_more(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 5)), int(rng.integers(1, 6))
    similarity = rng.random((n, m)) * (rng.random((n, m)) < 0.8)
    gain = gains(similarity, LEAST)
    assert np.array_equal(gain, np.maximum(similarity - 0.3, 0))
    column_of, row_of = associate(gain)
    rows = np.flatnonzero(column_of >= 0)
    ours = gain[rows, column_of[rows]].sum()
    wide = gain if n <= m else gain.T
    best = max(
        sum(wide[i, column] for i, column in enumerate(order))
        for order in permutations(range(wide.shape[1]), wide.shape[0])
    )
    assert ours == pytest.approx(best)
    assert (similarity[rows, column_of[rows]] > 0.3).all()
    columns = np.flatnonzero(row_of >= 0)
    assert sorted(zip(rows.tolist(), column_of[rows].tolist(), strict=True)) == sorted(
        zip(row_of[columns].tolist(), columns.tolist(), strict=True)
    ), "both sides tell of the same pairs"


def test_a_pair_below_the_gate_takes_no_place() -> None:
    # Summed over all, 0.2 + 0.2 would beat 0.3: but both are below the gate.
    column_of, row_of = associate(gains(np.array([[0.3, 0.2], [0.2, 0.0]]), np.array(0.25)))
    assert (column_of.tolist(), row_of.tolist()) == ([0, -1], [0, -1])


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (4, 0)])
def test_nothing_pairs_with_nothing(shape: tuple[int, int]) -> None:
    column_of, row_of = associate(np.zeros(shape))
    assert (column_of.tolist(), row_of.tolist()) == ([-1] * shape[0], [-1] * shape[1])


def test_a_reach_is_measured_from_the_origin() -> None:
    assert reaches_of(np.array([[2, 3, 10, 20]])).T.tolist() == [[-2.0, -3.0, 10.0, 20.0]]
