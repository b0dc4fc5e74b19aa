"""Which detections of two runs are of one object: told as tables, and as what has to hold always."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from jobs.agreement import compare_found
from jobs.export.rows import Found
from jobs.imports.match import iou_matrix


def found(label: str, x: float, score: float | None = 0.5, number: int = 0, size: float = 10.0) -> Found:
    return Found(number, 0, (x, 0.0, x + size, size), label, 0, score)


def told(one: list[Found], other: list[Found], **options: float) -> tuple[list[str], list[str], list[str]]:
    pair = compare_found(one, other, **options)
    return (
        [f"{each.one.label}={each.other.label}" for each in pair.matches],
        [each.label for each in pair.only_one],
        [each.label for each in pair.only_other],
    )


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param([], [], ([], [], []), id="nothing"),
        pytest.param([found("car", 0)], [], ([], ["car"], []), id="one alone"),
        pytest.param([], [found("car", 0)], ([], [], ["car"]), id="the other alone"),
        pytest.param([found("car", 0)], [found("car", 1)], (["car=car"], [], []), id="both"),
        pytest.param([found("car", 0)], [found("bus", 1)], (["car=bus"], [], []), id="another label"),
        pytest.param([found("car", 0)], [found("car", 6)], ([], ["car"], ["car"]), id="too far apart"),
        pytest.param(
            [found("car", 0)],
            [found("bus", 0), found("car", 2)],
            (["car=car"], [], ["bus"]),
            id="the same label before a nearer one",
        ),
        pytest.param(
            [found("car", 0), found("car", 2)],
            [found("car", 2)],
            (["car=car"], ["car"], []),
            id="one for one",
        ),
    ],
)
def test_pairs(one: list[Found], other: list[Found], expected: tuple[list[str], ...]) -> None:
    assert told(one, other) == expected


def test_a_smaller_overlap_is_enough_where_asked_for() -> None:
    assert told([found("car", 0)], [found("car", 6)], min_iou=0.2) == (["car=car"], [], [])


@pytest.mark.parametrize(
    ("one", "other", "disagreement"),
    [
        pytest.param([], [], 0.0, id="nothing"),
        pytest.param([found("car", 0, 0.9)], [found("car", 0, 0.9)], 0.0, id="the same"),
        pytest.param([found("car", 0, 0.9)], [found("car", 1, 0.6)], 0.3, id="the scores' difference"),
        pytest.param([found("car", 0, 0.9)], [], 0.9, id="what only one found"),
        pytest.param([found("car", 0, 0.4)], [found("bus", 0, 0.7)], 0.7, id="another label"),
        pytest.param(
            [found("car", 0, 0.9), found("dog", 50, 0.2)], [found("car", 0, 0.8)], 0.2, id="the greatest"
        ),
        pytest.param([found("car", 0, None)], [], 1.0, id="what a person said is sure"),
        pytest.param([found("car", 0, None)], [found("car", 0, 0.3)], 0.0, id="no score to compare"),
    ],
)
def test_disagreement(one: list[Found], other: list[Found], disagreement: float) -> None:
    assert compare_found(one, other).disagreement == pytest.approx(disagreement)
    assert compare_found(other, one).disagreement == pytest.approx(disagreement)


@pytest.mark.parametrize("seed", range(20))
def test_what_holds_of_any_two_images(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def draw(num: int) -> list[Found]:
        return [
            found("ab"[int(rng.integers(2))], float(rng.uniform(0, 60)), float(rng.uniform()), k)
            for k in range(num)
        ]

    one, other = draw(int(rng.integers(9))), draw(int(rng.integers(9)))
    pair = compare_found(one, other)
    assert sorted([m.one.number for m in pair.matches] + [f.number for f in pair.only_one]) == [
        *range(len(one))
    ]
    assert sorted([m.other.number for m in pair.matches] + [f.number for f in pair.only_other]) == [
        *range(len(other))
    ]
    assert all(match.iou >= 0.5 for match in pair.matches)
    left = iou_matrix([f.box for f in pair.only_one], [f.box for f in pair.only_other])
    assert not (left >= 0.5).any(), "two that are left over are of no one object"
    near = iou_matrix([f.box for f in one], [f.box for f in other]) >= 0.5
    largest = near[linear_sum_assignment(near.astype(float), maximize=True)].sum()
    assert 2 * len(pair.matches) >= largest, "a greedy matching is at least half as large as the largest"
    back = compare_found(other, one)
    assert len(back.matches) == len(pair.matches)
