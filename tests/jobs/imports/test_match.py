"""What someone changed, told from before and after."""

from __future__ import annotations

import numpy as np
import pytest

from cvcore.errors import SpecError
from jobs.export.rows import Found
from jobs.imports.given import GivenBox
from jobs.imports.match import changes, iou_matrix

CAR = Found(0, 1, (10, 10, 50, 50), "car", 0, 0.9, track_id=4)
DOG = Found(1, 2, (60, 10, 90, 50), "dog", 1, 0.6)


def said(found: list[Found], given: list[GivenBox]) -> list[tuple[str, int | None]]:
    return [(each.action, each.number) for each in changes(found, given)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(
            [GivenBox("car", CAR.box), GivenBox("dog", DOG.box)], ["accept", "accept"], id="as it was"
        ),
        pytest.param([GivenBox("dog", DOG.box), GivenBox("car", CAR.box)], ["accept", "accept"], id="turned"),
        pytest.param([GivenBox("car", (10.01, 10, 49.99, 50))], ["accept", "reject"], id="rounded"),
        pytest.param([GivenBox("cat", DOG.box)], ["reject", "relabel"], id="another label"),
        pytest.param([GivenBox("car", (12, 10, 55, 50))], ["move", "reject"], id="another box"),
        pytest.param([GivenBox("car", CAR.box, track_id=5)], ["move", "reject"], id="another track"),
        pytest.param([GivenBox("car", (300, 300, 310, 310))], ["reject", "reject", "add"], id="elsewhere"),
        pytest.param(
            [GivenBox("car", (300, 300, 310, 310), number=0)], ["move", "reject"], id="far, but numbered"
        ),
        pytest.param([], ["reject", "reject"], id="nothing is there"),
    ],
)
def test_actions(given: list[GivenBox], expected: list[str]) -> None:
    assert [action for action, _ in said([CAR, DOG], given)] == expected


def test_the_same_label_goes_before_another_at_one_place() -> None:
    twin = Found(1, 2, CAR.box, "truck", 2, 0.5)
    given = [GivenBox("truck", CAR.box), GivenBox("car", CAR.box)]
    assert said([CAR, twin], given) == [("accept", 0), ("accept", 1)]


def test_an_empty_image_that_was_looked_at_is_said() -> None:
    assert said([], []) == [("empty", None)]


def test_two_corrections_of_one_object_are_refused() -> None:
    given = [GivenBox("car", CAR.box, number=0), GivenBox("bus", (11, 10, 50, 50), number=0)]
    with pytest.raises(SpecError, match="detection 0 is corrected twice, as 'car' and as 'bus'"):
        changes([CAR, DOG], given)


def test_an_accepted_box_keeps_the_model_s_numbers() -> None:
    (change,) = changes([CAR], [GivenBox("car", (10.01, 10, 50, 50))])
    assert change.given is not None
    assert (change.given.box, change.given.track_id) == (CAR.box, 4)


@pytest.mark.parametrize("seed", range(10))
def test_whatever_comes_back_all_is_said_once(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def boxes(num: int) -> list[tuple[float, float, float, float]]:
        corners = np.sort(rng.uniform(0, 50, (num, 2, 2)), axis=1).reshape(num, 4)
        return [tuple(box) for box in corners.tolist()]

    found = [Found(k, k + 1, box, rng.choice(["a", "b"]), 0, 0.5) for k, box in enumerate(boxes(8))]
    given = [GivenBox(rng.choice(["a", "b"]), box) for box in boxes(6)]
    given += [GivenBox(each.label, each.box) for each in found[:3]]
    result = changes(found, given)
    numbers = [each.number for each in result if each.action != "add"]
    assert numbers == list(range(8))
    kept = [each.given for each in result if each.given is not None]
    assert len(kept) == len(given)
    assert [each.action for each in result[:3]] == ["accept"] * 3


def test_overlaps() -> None:
    boxes = [(0, 0, 2, 2), (5, 5, 5, 5)]
    np.testing.assert_allclose(iou_matrix(boxes, [(1, 0, 3, 2), (5, 5, 5, 5)]), [[1 / 3, 0], [0, 1]])
    assert iou_matrix([], boxes).shape == (0, 2)
