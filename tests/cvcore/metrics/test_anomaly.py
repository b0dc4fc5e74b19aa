"""Anomaly metrics against scikit-learn, and the region overlap against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from sklearn.metrics import (
    auc,
    average_precision_score,
    f1_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from cvcore.metrics.anomaly import Ranking, aupro


def sample(seed: int, *, ties: bool, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.random(count) < random.uniform(0.02, 0.9)
    truth[:2] = (True, False)
    scores = random.normal(size=count) + truth * random.uniform(0, 3)
    return (np.round(scores) if ties else scores), truth


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_rankings_are_those_of_scikit_learn(seed: int, ties: bool) -> None:
    scores, truth = sample(seed, ties=ties)
    ranking = Ranking.of(scores, truth)
    assert ranking.auroc() == pytest.approx(roc_auc_score(truth, scores), abs=1e-9)
    assert ranking.average_precision() == pytest.approx(average_precision_score(truth, scores), abs=1e-9)
    precision, recall, _ = precision_recall_curve(truth, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best, threshold = ranking.best_f1()
    assert best == pytest.approx(f1.max(), abs=1e-9)
    assert f1_score(truth, scores >= threshold) == pytest.approx(best, abs=1e-9)
    rates, recalls, _ = roc_curve(truth, scores, drop_intermediate=False)
    for wanted in (0.1, 0.5, 0.95, 1.0):
        least = rates[recalls >= wanted - 1e-12].min()
        assert ranking.fpr_at_recall(wanted) == pytest.approx(least, abs=1e-9)


def plain_aupro(maps: np.ndarray, masks: np.ndarray, max_fpr: float) -> float:
    """One threshold after the other, one region after the other."""
    regions = []
    for index, mask in enumerate(masks):
        labelled, count = ndimage.label(mask, np.ones((3, 3)))
        regions += [(index, labelled == number) for number in range(1, count + 1)]
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        found = maps >= threshold
        rate = (found & ~masks).sum() / (~masks).sum()
        points.append((rate, np.mean([found[index][region].mean() for index, region in regions])))
    rates, overlaps = np.array(points).T
    grid = np.unique(np.append(rates[rates <= max_fpr], max_fpr))
    upper = [overlaps[rates == rate].max() if (rates == rate).any() else np.nan for rate in grid]
    if np.isnan(upper[-1]):
        after = int(np.argmax(rates > max_fpr))
        upper[-1] = np.interp(max_fpr, rates[after - 1 : after + 1], overlaps[after - 1 : after + 1])
    lower = [overlaps[rates == rate].min() if (rates == rate).any() else upper[-1] for rate in grid]
    return (
        sum(
            (b - a) * (high + low) / 2
            for a, b, high, low in zip(grid, grid[1:], upper, lower[1:], strict=False)
        )
        / max_fpr
    )


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("max_fpr", [0.05, 0.3, 1.0])
def test_region_overlap_is_its_definition(ties: bool, max_fpr: float) -> None:
    random = np.random.default_rng(3)
    masks = ndimage.binary_dilation(random.random((4, 20, 24)) < 0.01, np.ones((1, 3, 3)))
    maps = random.normal(size=masks.shape) + masks * 1.5
    if ties:
        maps = np.round(maps, 1)
    assert aupro(list(maps), list(masks), max_fpr=max_fpr) == pytest.approx(
        plain_aupro(maps, masks, max_fpr), abs=1e-9
    )


def test_region_overlap_counts_a_small_defect_as_much_as_a_large_one() -> None:
    mask = np.zeros((40, 40), bool)
    mask[2:22, 2:22] = True
    mask[30:32, 30:32] = True
    only_large = np.where(np.arange(40)[:, None] < 25, mask, False).astype(float)
    assert aupro([mask.astype(float)], [mask]) == pytest.approx(1.0)
    assert 0.5 <= aupro([only_large], [mask]) < 0.6


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(ValueError, match="there must be normal and anomalous"):
        Ranking.of([1.0, 2.0], [True, True])
    with pytest.raises(ValueError, match="NaN"):
        Ranking.of([1.0, float("nan")], [True, False])
    with pytest.raises(ValueError, match="2 scores for 1"):
        Ranking.of([1.0, 2.0], [True])
    with pytest.raises(ValueError, match="both normal and anomalous"):
        aupro([np.zeros((4, 4))], [np.zeros((4, 4), bool)])
    with pytest.raises(ValueError, match="recall"):
        Ranking.of([1.0, 2.0], [True, False]).fpr_at_recall(0.0)


def test_the_area_of_a_curve_is_scikit_learns() -> None:
    scores, truth = sample(5, ties=True)
    ranking = Ranking.of(scores, truth)
    theirs = auc(np.append(0, ranking.false_positive_rates), np.append(0, ranking.recalls))
    assert ranking.auroc() == pytest.approx(theirs, abs=1e-12)
