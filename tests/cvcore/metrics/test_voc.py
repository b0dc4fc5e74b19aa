"""VOC's average precision, by hand and against the development kit's procedure written out with loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cvcore.metrics.box_tables import make_tables
from cvcore.metrics.precision_recall import ap_11_points, ap_under_envelope, best_f1, curve_points, make_curve
from cvcore.metrics.voc import VocMetrics, class_curves, judge, voc_metrics
from tests.cvcore.metrics.boxes import random_case, results_of, truth_of

A, B, C, FAR = (0, 0, 50, 50), (100, 0, 150, 50), (0, 100, 50, 150), (300, 300, 320, 320)


def measured(truth: dict[str, Any], results: list[dict[str, Any]]) -> VocMetrics:
    tables = make_tables(truth, results)
    return voc_metrics(tables, class_curves(tables, judge(tables.truth, tables.found)))


def devkit(truth: dict[str, Any], results: list[dict[str, Any]], category: int) -> tuple[float, float]:
    """VOCevaldet and VOCap: boxes of whole pixels, one detection after the other."""
    objects: dict[int, list[dict[str, Any]]] = {}
    total = 0
    for a in truth["annotations"]:
        if a["category_id"] == category:
            x, y, w, h = a["bbox"]
            entry = {"box": (x + 1, y + 1, x + w, y + h), "hard": bool(a.get("difficult")), "seen": False}
            objects.setdefault(a["image_id"], []).append(entry)
            total += not entry["hard"]
    hits, wrong = [], []
    for found in sorted((r for r in results if r["category_id"] == category), key=lambda r: -r["score"]):
        x, y, w, h = found["bbox"]
        mine, best, at = (x + 1, y + 1, x + w, y + h), -math.inf, None
        for entry in objects.get(found["image_id"], []):
            other = entry["box"]
            wide = min(mine[2], other[2]) - max(mine[0], other[0]) + 1
            high = min(mine[3], other[3]) - max(mine[1], other[1]) + 1
            if wide > 0 and high > 0:
                areas = [(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (mine, other)]
                overlap = wide * high / (sum(areas) - wide * high)
                if overlap > best:
                    best, at = overlap, entry
        hit = best >= 0.5 and at is not None and not at["hard"] and not at["seen"]
        skip = best >= 0.5 and at is not None and at["hard"]
        if hit and at is not None:
            at["seen"] = True
        hits.append(int(hit))
        wrong.append(int(not hit and not skip))
    tp, fp = np.cumsum(hits), np.cumsum(wrong)
    kept = tp + fp > 0
    recall, precision = tp[kept] / total, tp[kept] / (tp + fp)[kept]
    eleven = 0.0
    for k in range(11):
        beyond = precision[recall >= k / 10]
        eleven += (beyond.max() if len(beyond) else 0.0) / 11
    ends, heights = [0.0, *recall.tolist(), 1.0], [0.0, *precision.tolist(), 0.0]
    for k in range(len(heights) - 2, -1, -1):
        heights[k] = max(heights[k], heights[k + 1])
    area = sum((ends[k] - ends[k - 1]) * heights[k] for k in range(1, len(ends)))
    return eleven, area


def test_by_hand() -> None:
    truth = truth_of([(1, "a", A, ""), (1, "a", B, ""), (2, "a", C, "")], labels="a")
    results = results_of([(1, "a", A, 0.9), (2, "a", FAR, 0.8), (1, "a", B, 0.7)], labels="a")
    found = measured(truth, results)
    # Recalls 1/3, 1/3, 2/3 at precisions 1, 1/2, 2/3: levels 0 to 0.3 take 1, 0.4 to 0.6 take 2/3.
    assert found.map07 == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)
    assert found.map10 == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_the_development_kit(seed: int) -> None:
    truth, results = random_case(seed)
    found = measured(truth, results)
    for k, label in enumerate("abc", start=1):
        eleven, area = devkit(truth, results, k)
        assert found.per_class_ap07[label] == pytest.approx(eleven, abs=1e-9)
        assert found.per_class_ap10[label] == pytest.approx(area, abs=1e-9)
    assert 0.1 < found.map10 < 0.9
    assert found.num_difficult > 0


@pytest.mark.parametrize("flag", ["difficult", "crowd"])
def test_what_does_not_count_neither_helps_nor_harms(flag: str) -> None:
    truth = truth_of([(1, "a", A, ""), (1, "a", B, flag)], labels="a")
    sure = [(1, "a", A, 0.5)]
    both = [*sure, (1, "a", B, 0.9), (1, "a", B, 0.8)]
    for found in (sure, both):
        metrics = measured(truth, results_of(found, labels="a"))
        assert (metrics.map07, metrics.map10, metrics.num_objects) == (pytest.approx(1), pytest.approx(1), 1)


def test_a_second_detection_of_an_object_is_wrong() -> None:
    truth = truth_of([(1, "a", A, "")], labels="a")
    tables = make_tables(truth, results_of([(1, "a", A, 0.6), (1, "a", A, 0.9)], labels="a"))
    judgement = judge(tables.truth, tables.found)
    assert judgement.correct.tolist() == [False, True]
    assert judgement.wrong.tolist() == [True, False]


def test_nothing_found_is_zero_and_nothing_to_find_is_unknown() -> None:
    truth = truth_of([(1, "a", A, "")], labels="ab")
    found = measured(truth, [])
    assert found.per_class_ap07["a"] == found.per_class_ap10["a"] == found.map10 == 0.0
    assert math.isnan(found.per_class_ap07["b"])
    assert math.isnan(measured(truth_of([(1, "a", A, "difficult")], labels="a"), []).map10)


def test_the_best_threshold_takes_equal_scores_together() -> None:
    scores, correct = np.array([0.9, 0.5, 0.5, 0.2]), np.array([True, True, False, False])
    point = best_f1(make_curve(scores, correct, 2))
    assert point is not None
    # Of 0.9 alone F1 is 2/3; of both at 0.5, precision 2/3 and recall 1 give 0.8; 1 is not to be had.
    assert (point.threshold, point.f1) == (0.5, pytest.approx(0.8))
    assert best_f1(make_curve(scores, ~correct & False, 2)) is None


def test_points_of_a_long_curve_keep_its_area() -> None:
    rng = np.random.default_rng(3)
    scores = rng.random(5000)
    curve = make_curve(scores, rng.random(5000) < scores, 4000)
    every, few = curve_points(curve, limit=10_000), curve_points(curve, limit=200)
    assert (len(every), len(few)) == (round(curve.recall[-1] * 4000), 200)
    for points, tolerance in ((every, 1e-9), (few, 0.01)):
        recall, precision = (np.array([getattr(p, n) for p in points]) for n in ("recall", "precision"))
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        area = (np.diff(recall, prepend=0.0) * envelope).sum()
        assert area == pytest.approx(ap_under_envelope(curve), abs=tolerance)
    assert ap_11_points(curve) == pytest.approx(ap_under_envelope(curve), abs=0.06)
