"""What an image's corrections are after a reviewer's word: told as tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cvcore.errors import SpecError
from jobs.export.rows import Found
from jobs.imports.decisions import Decision, Reviewer, decide

FOUND = {
    number: Found(number, number + 1, (1.0, 2.0, 3.0 + number, 4.0), label, 0, 0.5)
    for number, label in enumerate(("car", "car", "dog"))
}
NOTE = Reviewer("bob", "veedor view", datetime(2026, 5, 4, tzinfo=UTC)).note("/run")
EARLIER = {"who": "ann", "tool": "cvat", "made": datetime(2026, 5, 3, tzinfo=UTC), "file": "/x.json"}


def earlier(action: str, number: int | None, **values: Any) -> dict[str, Any]:
    names = ("label", "x0", "y0", "x1", "y1", "track_id", "mask")
    return {**dict.fromkeys(names), "action": action, "number": number, **values, **EARLIER}


ADDED = earlier("add", None, label="cat", x0=0.0, y0=0.0, x1=9.0, y1=9.0)
MOVED = earlier("move", 1, label="van", x0=5.0, y0=5.0, x1=6.0, y1=6.0)


def told(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(row["action"], row["number"], row["label"], row["x1"], row["who"]) for row in rows]


@pytest.mark.parametrize(
    ("before", "decisions", "after"),
    [
        pytest.param(
            [], [Decision("accept", 2)], [("accept", 2, "dog", 5.0, "bob")], id="others stay undecided"
        ),
        pytest.param([], [Decision("reject", 0)], [("reject", 0, None, None, "bob")], id="reject"),
        pytest.param(
            [], [Decision("relabel", 0, "van")], [("relabel", 0, "van", 3.0, "bob")], id="another label"
        ),
        pytest.param(
            [], [Decision("relabel", 0, "car")], [("accept", 0, "car", 3.0, "bob")], id="its own label"
        ),
        pytest.param(
            [],
            [Decision("reject", 0), Decision("accept", 0)],
            [("accept", 0, "car", 3.0, "bob")],
            id="the last word counts",
        ),
        pytest.param(
            [MOVED, ADDED],
            [Decision("accept", 0)],
            [
                ("accept", 0, "car", 3.0, "bob"),
                ("move", 1, "van", 6.0, "ann"),
                ("add", None, "cat", 9.0, "ann"),
            ],
            id="what others said stays theirs",
        ),
        pytest.param(
            [MOVED], [Decision("accept", 1)], [("move", 1, "van", 6.0, "bob")], id="what is shown is accepted"
        ),
        pytest.param(
            [MOVED],
            [Decision("relabel", 1, "bus")],
            [("move", 1, "bus", 6.0, "bob")],
            id="a moved box keeps its place",
        ),
        pytest.param(
            [MOVED, ADDED],
            [Decision("clear", 1)],
            [("add", None, "cat", 9.0, "ann")],
            id="cleared",
        ),
        pytest.param(
            [MOVED], [Decision("clear", 1)], [("withdraw", None, None, None, "bob")], id="nothing is left"
        ),
    ],
)
def test_after_decisions(
    before: list[dict[str, Any]], decisions: list[Decision], after: list[tuple[Any, ...]]
) -> None:
    assert told(decide(before, decisions, FOUND, NOTE)) == after


def test_an_image_without_detections_is_rightly_empty_or_not_looked_at() -> None:
    rows = decide([], [Decision("accept", None)], {}, NOTE)
    assert told(rows) == [("empty", None, None, None, "bob")]
    assert told(decide(rows, [Decision("clear", None)], {}, NOTE)) == [("withdraw", None, None, None, "bob")]
    assert told(decide([ADDED], [Decision("accept", None)], {}, NOTE)) == told([ADDED])


def test_deciding_again_what_was_decided_changes_nothing_but_who() -> None:
    rows = decide([], [Decision("relabel", 0, "van"), Decision("reject", 2)], FOUND, NOTE)
    assert decide(rows, [], FOUND, NOTE) == rows
    assert decide(rows, [Decision("accept", 0), Decision("reject", 2)], FOUND, NOTE) == rows


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda: Decision("relabel", 0), "goes with relabel", id="no label"),
        pytest.param(lambda: Decision("accept", 0, "car"), "goes with relabel", id="a label too many"),
        pytest.param(lambda: Decision("relabel", 0, " car"), "no label", id="space around"),
        pytest.param(lambda: Decision("relabel", 0, ""), "no label", id="nothing"),
        pytest.param(lambda: Decision("relabel", 0, "a\u202eb"), "no label", id="turning marks"),
        pytest.param(lambda: Decision("relabel", 0, "a" * 201), "no label", id="a novel"),
        pytest.param(lambda: Decision("reject", None), "none to reject", id="nothing to reject"),
        pytest.param(lambda: Decision("delete", 0), "no verdict 'delete'", id="no verdict"),  # type: ignore[arg-type]
        pytest.param(
            lambda: decide([], [Decision("accept", 3)], FOUND, NOTE), "no detection 3", id="no such"
        ),
        pytest.param(
            lambda: decide([], [Decision("accept", None)], FOUND, NOTE), "not empty", id="not empty"
        ),
    ],
)
def test_what_is_refused(make: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        make()
