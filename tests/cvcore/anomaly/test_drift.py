"""Drift is seen where it is, and rarely where it is not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cvcore.anomaly.drift import (
    P_SHIFTED,
    Drift,
    LatentReference,
    Reference,
    measure_drift,
    population_stability,
)


def normal(seed: int, count: int, *, mean: float = 0.0, spread: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, spread, count)


def test_the_stability_index_is_its_definition() -> None:
    reference, sample = np.arange(100.0), np.concatenate([np.arange(50.0), np.arange(50.0)])
    # Ten bins of a tenth each; the sample has a fifth in the lower five, and half an item in each other.
    actual = np.array([20.0] * 5 + [0.5] * 5)
    actual /= actual.sum()
    expected = float(np.sum((actual - 0.1) * np.log(actual / 0.1)))
    assert population_stability(reference, sample) == pytest.approx(expected)
    assert population_stability(reference, reference) == 0


def test_the_index_of_the_same_distribution_is_small_and_of_another_large() -> None:
    assert population_stability(normal(1, 5000), normal(2, 5000)) < 0.02
    assert population_stability(normal(1, 5000), normal(2, 5000, mean=1)) > 0.5
    assert population_stability(normal(1, 5000), normal(2, 5000, spread=2)) > 0.25


def test_hotellings_test_equals_the_t_test_in_one_dimension() -> None:
    first, second = normal(3, 80)[:, None], normal(4, 50, mean=0.4)[:, None]
    found = LatentReference.fit(first).mean_shift(second)
    assert found == pytest.approx(float(stats.ttest_ind(first[:, 0], second[:, 0]).pvalue), rel=1e-9)


def test_hotellings_test_keeps_its_rate_of_false_alarms() -> None:
    rng = np.random.default_rng(5)
    mix = rng.normal(size=(6, 6))
    chances = [
        LatentReference.fit(rng.normal(size=(200, 6)) @ mix).mean_shift(rng.normal(size=(60, 6)) @ mix)
        for _ in range(400)
    ]
    assert stats.kstest(chances, "uniform").pvalue > 1e-3
    moved = rng.normal(size=(60, 6)) @ mix + 2 * mix[0]
    assert LatentReference.fit(rng.normal(size=(200, 6)) @ mix).mean_shift(moved) < 1e-6


def compare(*, scores: float = 0.0, light: float = 0.0, latent: float = 0.0, count: int = 400) -> Drift:
    rng = np.random.default_rng(6)
    reference = Reference(
        normal(7, 500), {"brightness": normal(8, 500)}, LatentReference.fit(rng.normal(size=(500, 8)))
    )
    return measure_drift(
        reference,
        normal(9, count, mean=scores),
        {"brightness": normal(10, count, mean=light)},
        rng.normal(size=(count, 8)) + latent,
    )


def test_each_kind_of_drift_is_told_apart() -> None:
    assert compare().warnings() == []
    (score,) = compare(scores=1).warnings()
    assert "stability index" in score
    (light,) = compare(light=0.5).warnings()
    assert light.startswith("brightness has changed from")
    (latent,) = compare(latent=0.4).warnings()
    assert "latent" in latent


def test_a_handful_of_images_is_not_compared() -> None:
    found = compare(scores=5, count=19)
    assert found == Drift(19)
    assert found.warnings() == []
    assert compare(scores=5, count=20).p_values["brightness"] > P_SHIFTED
