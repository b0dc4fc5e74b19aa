"""Confusions and kinds of errors on boxes that a reader can follow."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from cvcore.metrics.box_tables import make_tables
from cvcore.metrics.confusion import ConfusionMatrix, confusion_matrix
from cvcore.metrics.detection_errors import DetectionErrors, detection_errors
from cvcore.metrics.detection_quality import assess_detections
from cvcore.metrics.voc import judge
from tests.cvcore.metrics.boxes import Box, random_case, results_of, truth_of

A, B, C = (0, 0, 50, 50), (100, 0, 150, 50), (0, 100, 80, 180)
BADLY_ON_A, FAR = (0, 0, 50, 20), (300, 300, 320, 320)
OBJECTS = [(1, "a", A, ""), (1, "b", B, ""), (1, "c", C, ""), (2, "a", A, "difficult")]


def errors_of(found: list[tuple[int, str, Box, float]], *, min_score: float = 0.3) -> DetectionErrors:
    tables = make_tables(truth_of(OBJECTS), results_of(found))
    return detection_errors(tables, judge(tables.truth, tables.found), min_score=min_score)


def confusion_of(found: list[tuple[int, str, Box, float]], *, min_score: float = 0.3) -> ConfusionMatrix:
    return confusion_matrix(make_tables(truth_of(OBJECTS), results_of(found)), min_score=min_score)


@pytest.mark.parametrize(
    ("found", "kind", "true_label"),
    [
        ((1, "b", A, 0.9), "classification", "a"),
        ((1, "a", BADLY_ON_A, 0.9), "localisation", "a"),
        ((1, "b", BADLY_ON_A, 0.9), "both", "a"),
        ((1, "a", FAR, 0.9), "background", None),
        ((2, "b", FAR, 0.9), "background", None),
    ],
    ids=["classification", "localisation", "both", "background", "where all is difficult"],
)
def test_a_false_positive_has_its_kind(
    found: tuple[int, str, Box, float], kind: str, true_label: str | None
) -> None:
    errors = errors_of([found])
    (worst,) = errors.worst
    assert (worst.kind, worst.true_label, worst.image_id) == (kind, true_label, found[0])
    assert errors.counts[worst.kind] == 1
    assert sum(errors.counts.values()) == 1


def test_the_weaker_of_two_is_the_duplicate() -> None:
    errors = errors_of([(1, "a", A, 0.5), (1, "a", A, 0.8)])
    assert [(each.kind, each.score) for each in errors.worst] == [("duplicate", 0.5)]


def test_the_worst_come_first_and_the_largest_misses() -> None:
    errors = errors_of([(1, "a", FAR, 0.4), (1, "b", A, 0.9), (1, "a", FAR, 0.2), (2, "a", A, 0.99)])
    assert [each.score for each in errors.worst] == [0.9, 0.4]  # 0.2 is below the least score, 0.99 difficult
    assert [miss.label for miss in errors.misses] == ["c", "a", "b"]
    assert errors.num_missed == 3


def test_an_object_that_was_found_too_weakly_is_missed() -> None:
    assert errors_of([(1, "c", C, 0.29)]).num_missed == 3
    assert errors_of([(1, "c", C, 0.31)]).num_missed == 2


def test_confusions_by_hand() -> None:
    found = confusion_of(
        [
            (1, "a", A, 0.9),
            (1, "a", B, 0.8),
            (1, "c", FAR, 0.7),
            (1, "a", A, 0.6),  # its object is taken
            (2, "b", A, 0.9),  # on a difficult object
            (1, "c", C, 0.2),  # too weak
        ]
    )
    assert found.counts == ((1, 0, 0, 0), (1, 0, 0, 0), (0, 0, 0, 1), (1, 0, 1, 0))


def test_the_better_score_chooses_first() -> None:
    found = confusion_of([(1, "b", A, 0.5), (1, "a", A, 0.6)])
    assert found.counts[0][:2] == (1, 0)
    assert found.counts[3][1] == 1


@pytest.mark.parametrize("seed", range(3))
def test_every_object_and_detection_is_counted_once(seed: int) -> None:
    truth, results = random_case(seed)
    quality = assess_detections(truth, results, min_score=0.0)
    counts = np.array(quality.confusion.counts)
    assert counts[:3].sum(axis=1).tolist() == list(quality.num_objects.values())
    assert counts[-1, -1] == 0
    num_wrong = sum(quality.errors.counts.values())
    tables = make_tables(truth, results)
    judgement = judge(tables.truth, tables.found)
    assert num_wrong == judgement.wrong.sum() > 0
    assert quality.errors.num_missed == quality.voc.num_objects - judgement.correct.sum()


def test_the_order_of_detections_changes_nothing() -> None:
    truth, results = random_case(5)
    results = [{**each, "score": k / 1000} for k, each in enumerate(results)]
    before = assess_detections(truth, results, min_score=0.01)
    after = assess_detections(truth, results[::-1], min_score=0.01)
    assert json.dumps(asdict(after)) == json.dumps(asdict(before))


def test_nothing_found_is_all_missed() -> None:
    quality = assess_detections(truth_of(OBJECTS), [], min_score=0.25)
    assert [row[-1] for row in quality.confusion.counts] == [1, 1, 1, 0]
    assert quality.errors.worst == ()
    assert quality.best_f1 == {"a": None, "b": None, "c": None}
    assert quality.metrics.ap == quality.voc.map07 == 0.0
    assert math.isnan(quality.metrics.ap_large)
