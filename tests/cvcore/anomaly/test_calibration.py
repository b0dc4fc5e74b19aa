"""Thresholds keep the rate of false alarms that they promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cvcore.anomaly.calibration import Calibration, Tail
from cvcore.errors import TooFewNormalsError


def normals(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(3.0, 2.0, count)


@pytest.mark.parametrize(("count", "target"), [(200, 0.05), (999, 0.01), (2000, 0.002)])
def test_the_rate_of_false_alarms_is_the_target_and_its_interval_holds(count: int, target: float) -> None:
    distribution = stats.gamma(3.0, scale=2.0)
    rates, inside = [], 0
    for seed in range(300):
        threshold = Calibration.fit(normals(count, seed)).threshold(target)
        assert not threshold.extrapolated
        assert threshold.warning() is None
        rates.append(distribution.sf(threshold.raw))
        inside += threshold.fpr_low <= rates[-1] <= threshold.fpr_high
    error = 4 * np.std(rates) / np.sqrt(len(rates))
    assert np.mean(rates) <= target + error
    assert np.mean(rates) >= 0.7 * target - error
    assert 0.90 <= inside / 300 <= 0.985


def test_too_few_normals_are_extrapolated_and_said_to_be() -> None:
    rates = []
    for seed in range(200):
        threshold = Calibration.fit(normals(100, seed)).threshold(0.002)
        assert threshold.extrapolated
        assert threshold.needed_normals == 499
        assert "100 normal images are too few" in str(threshold.warning())
        rates.append(stats.gamma(3.0, scale=2.0).sf(threshold.raw))
    assert 0.0002 < np.median(rates) < 0.01
    assert np.mean(np.array(rates) <= threshold.fpr_high) > 0.95


def test_normalized_scores_rise_from_0_to_1_and_never_stand_still() -> None:
    calibration = Calibration.fit(normals(400, 0))
    raw = np.linspace(-5, 120, 2000)
    found = calibration.rate_above(raw)
    assert (np.diff(found) <= 1e-12).all()
    assert found[0] == 1.0
    beyond = found[raw > calibration.scores[-1]]
    assert (np.diff(beyond) < 0).all(), "what is beyond all normals still differs"
    scores = calibration.normalized(raw)
    assert scores.dtype == np.float32
    assert 0 <= scores.min() <= scores.max() <= 1
    fresh = calibration.normalized(normals(20_000, 1))
    assert np.mean(fresh > 0.95) == pytest.approx(0.05, abs=0.02)


def test_the_tail_finds_what_it_was_drawn_from() -> None:
    shapes, scales = [], []
    for seed in range(100):
        drawn = stats.genpareto.rvs(0.2, scale=1.5, size=4000, random_state=seed)
        tail = Tail.fit(np.sort(np.concatenate([np.full(36_000, -1e-9), drawn])))
        shapes.append(tail.shape)
        scales.append(tail.scale)
    assert np.mean(shapes) == pytest.approx(0.2, abs=0.03)
    assert np.mean(scales) == pytest.approx(1.5, rel=0.05)


def test_tail_rate_and_score_are_inverse() -> None:
    tail = Calibration.fit(normals(500, 4)).tail
    for rate in (0.05, 0.001, 1e-5):
        assert tail.rate_above(np.array([tail.score_at(rate)]))[0] == pytest.approx(rate, rel=1e-6)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([1.0, 2.0], "2 normal images are too few"),
        ([3.0] * 50, "copies of one image"),
    ],
)
def test_normals_that_say_too_little_are_refused(scores: list[float], message: str) -> None:
    with pytest.raises(TooFewNormalsError, match=message):
        Calibration.fit(scores)


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        Calibration.fit([float("nan")] * 30)
    with pytest.raises(ValueError, match="target_fpr"):
        Calibration.fit(normals(30, 0)).threshold(1.5)
