"""Recall and average best overlap, against loops and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cvcore.metrics.proposals import CoveredImage, best_overlaps, evaluate_proposals


def naive_iou(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corners = rng.uniform(0, 80, (count, 2))
    return np.hstack([corners, corners + rng.uniform(1, 60, (count, 2))])


def test_best_overlaps_equal_loops() -> None:
    rng = np.random.default_rng(0)
    boxes, objects = random_boxes(rng, 30), random_boxes(rng, 12)
    expected = [max(naive_iou(box, target) for box in boxes.tolist()) for target in objects.tolist()]
    np.testing.assert_allclose(best_overlaps(boxes, objects), expected)


@pytest.mark.parametrize(("num_boxes", "num_objects"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_covers_nothing(num_boxes: int, num_objects: int) -> None:
    found = best_overlaps(np.zeros((num_boxes, 4)), np.ones((num_objects, 4)))
    assert found.tolist() == [0.0] * num_objects


def test_figures_of_two_images_by_hand() -> None:
    """Overlaps: a 1 and 0.5, b 0.25 and 0. MABO is the mean over classes, recall that over objects."""
    square = [0.0, 0, 10, 10]
    first = CoveredImage(np.array([square, [0, 0, 10, 5]]), np.array([square, [0, 20, 20, 25]]), ("a", "b"))
    second = CoveredImage(np.array([[0.0, 0, 5, 10]]), np.array([square, [0, 0, 20, 10]]), ("a", "b"))
    found = evaluate_proposals([first, second])
    assert found.boxes_per_image == 1.5
    assert found.recall == 0.5
    assert found.per_class_recall == {"a": 1.0, "b": 0.0}
    assert found.per_class_abo == {"a": 0.75, "b": 0.125}
    assert found.mabo == 0.4375
    assert (found.num_images, found.num_objects) == (2, 4)


def test_the_order_of_proposals_and_images_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    images = [CoveredImage(random_boxes(rng, 9), random_boxes(rng, 3), ("x", "y", "x")) for _ in range(4)]
    turned = [CoveredImage(image.boxes[::-1], image.objects, image.labels) for image in images[::-1]]
    first, second = evaluate_proposals(images), evaluate_proposals(turned)
    assert first.recall == second.recall
    assert first.mabo == pytest.approx(second.mabo)


def test_without_objects_there_are_no_shares() -> None:
    found = evaluate_proposals([CoveredImage(np.zeros((2, 4)), np.zeros((0, 4)), ())])
    assert math.isnan(found.recall)
    assert math.isnan(found.mabo)
    assert found.boxes_per_image == 2


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="2 labels"):
        CoveredImage(np.zeros((0, 4)), np.zeros((1, 4)), ("a", "b"))
