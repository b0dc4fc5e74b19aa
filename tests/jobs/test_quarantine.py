"""Finding deadly inputs by bisection, with processes made up by the test."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from jobs.quarantine import find_deadly


@pytest.mark.parametrize(
    ("rows", "deadly"),
    [
        pytest.param(range(0), set(), id="nothing"),
        pytest.param(range(5), set(), id="all harmless"),
        pytest.param([7], {7}, id="the only one"),
        pytest.param(range(256), {0}, id="first"),
        pytest.param(range(256), {255}, id="last"),
        pytest.param(range(10, 41), {13, 14, 40}, id="several"),
        pytest.param(range(6), set(range(6)), id="all deadly"),
    ],
)
def test_exactly_the_deadly_rows_are_found(rows: Sequence[int], deadly: set[int]) -> None:
    trials = 0

    def survives(tried: Sequence[int]) -> bool:
        nonlocal trials
        trials += 1
        return not deadly & set(tried)

    assert find_deadly(list(rows), survives) == sorted(deadly)
    assert trials <= 1 + len(deadly) * 2 * (len(rows).bit_length() + 1)


def test_one_crash_by_chance_condemns_nothing() -> None:
    crashes = iter([True, True, True])

    def survives(tried: Sequence[int]) -> bool:
        return not (0 in tried and next(crashes, False))

    assert find_deadly(list(range(4)), survives) == [], "row 0 was survived alone at the second try"
