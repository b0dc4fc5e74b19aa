from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, classification_report, confusion_matrix, top_k_accuracy_score

from cvcore.metrics.classification import classification_metrics

LABELS = tuple("abcdefgh")


def random_case(num: int = 300) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.integers(0, 7, num)  # the last class has no images
    scores = random.random((num, 8)) + 0.8 * np.eye(8)[truth]
    return scores, truth


def test_figures_are_scikit_learns() -> None:
    scores, truth = random_case()
    ranked = np.argsort(-scores, axis=1)[:, :5]
    found = classification_metrics(ranked, truth, LABELS)
    told = scores.argmax(axis=1)
    assert found.top1 == pytest.approx(accuracy_score(truth, told))
    assert found.top5 == pytest.approx(top_k_accuracy_score(truth, scores, k=5, labels=np.arange(8)))
    report = classification_report(
        truth, told, labels=np.arange(8), target_names=LABELS, output_dict=True, zero_division=0
    )
    for each in found.per_class:
        expected = report[each.label]
        assert [each.precision, each.recall, each.f1, each.support] == pytest.approx(
            [expected["precision"], expected["recall"], expected["f1-score"], expected["support"]]
        )
    assert np.array_equal(found.confusion, confusion_matrix(truth, told, labels=np.arange(8)))
    assert found.localization_error is None
    assert found.score == found.top1


def test_a_class_that_is_never_said_and_one_without_images_count_as_nothing() -> None:
    found = classification_metrics(np.array([[0], [0]]), np.array([0, 1]), ("a", "b", "c"))
    assert [each.precision for each in found.per_class] == [0.5, 0.0, 0.0]
    assert [each.recall for each in found.per_class] == [1.0, 0.0, 0.0]


def test_a_place_counts_only_with_its_class() -> None:
    ranked, truth = np.array([[0], [0], [1], [1]]), np.array([0, 0, 1, 0])
    found = classification_metrics(ranked, truth, ("a", "b"), overlaps=np.array([0.5, 0.49, 0.9, 1.0]))
    assert found.localization_error == 0.5
    assert found.score == 0.5
    assert found.top1 == 0.75


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="no images"):
        classification_metrics(np.zeros((0, 1), np.int64), np.zeros(0, np.int64), ("a",))
