"""What a reviewer says of single detections, and what an image's corrections are after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from cvcore.errors import SpecError
from jobs.export.rows import Found
from jobs.visible import visible

Verdict = Literal["accept", "reject", "relabel", "clear"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
MAX_LABEL_CHARS = 200

_BOX = ("x0", "y0", "x1", "y1")
_NOTHING: dict[str, Any] = dict.fromkeys(("label", *_BOX, "track_id", "mask"))


@dataclass(frozen=True, slots=True)
class Decision:
    """One word of a reviewer.

    Attributes:
        verdict: `accept` what is shown, `reject` it, `relabel` it, or `clear` what was said before.
        number: of the detection in its image; None for an image without any, which can be accepted (rightly
            empty) or cleared.
        label: what it is, for `relabel`.

    Raises:
        SpecError: for a label that is none, or that is said with another verdict.
    """

    verdict: Verdict
    number: int | None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise SpecError(f"there is no verdict {self.verdict!r}: one of {', '.join(VERDICTS)}")
        if self.number is None and self.verdict not in ("accept", "clear"):
            raise SpecError(f"an image without detections has none to {self.verdict}")
        if (self.verdict == "relabel") != (self.label is not None):
            raise SpecError("a label goes with relabel, and with nothing else")
        if self.label is not None:
            _check_label(self.label)


def _check_label(label: str) -> None:
    if not label or label != label.strip() or len(label) > MAX_LABEL_CHARS or visible(label) != label:
        raise SpecError(
            f"{visible(label[:MAX_LABEL_CHARS])!r} is no label: it has 1 to {MAX_LABEL_CHARS} visible "
            "characters, and no space around them"
        )


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Who says it, with which tool, and when."""

    who: str
    tool: str
    made: datetime

    def note(self, run: str) -> dict[str, Any]:
        """The columns that say so; the `file` is the run that was looked at."""
        return {"made": self.made, "who": self.who, "tool": self.tool, "file": run}


def decide(
    before: Sequence[Mapping[str, Any]],
    decisions: Sequence[Decision],
    found: Mapping[int, Found],
    note: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """An image's corrections after some decisions, in their order.

    What was said before of other objects stays, with who said it; objects of which nothing is said have no
    row. Never empty: where nothing is said any more, the one row says `withdraw`.

    Args:
        before: its corrections until now.
        decisions: each of a detection in `found`, or of an image without any.
        found: its detections by number.
        note: the columns of the reviewer.

    Raises:
        SpecError: for a detection that the image does not have.
    """
    by_number = {row["number"]: dict(row) for row in before if row["number"] is not None}
    others = [dict(row) for row in before if row["number"] is None and row["action"] == "add"]
    empty = [dict(row) for row in before if row["action"] == "empty"]
    for each in decisions:
        if each.number is None:
            _check_empty(found)
            empty = [{**_NOTHING, "number": None, "action": "empty", **note}]
            empty = [] if each.verdict == "clear" or others else empty
        elif each.number not in found:
            raise SpecError(f"the image has no detection {each.number}: it has {len(found):,}")
        elif each.verdict == "clear":
            by_number.pop(each.number, None)
        else:
            row = _decided(by_number.get(each.number), each, found[each.number])
            by_number[each.number] = {**row, "number": each.number, **note}
    rows = [by_number[number] for number in sorted(by_number)] + others + empty
    return rows or [{**_NOTHING, "number": None, "action": "withdraw", **note}]


def _check_empty(found: Mapping[int, Found]) -> None:
    if found:
        raise SpecError(f"the image is not empty: it has {len(found):,} detections, name one of them")


def _decided(before: Mapping[str, Any] | None, decision: Decision, found: Found) -> dict[str, Any]:
    """The row of one detection, without its number and reviewer."""
    if decision.verdict == "reject":
        return {**_NOTHING, "action": "reject"}
    stands = before is not None and before["action"] != "reject"
    row = dict(before) if stands and before is not None else _as_found(found)
    if decision.label is not None:
        row["label"] = decision.label
        if row["action"] != "move":
            row["action"] = "accept" if decision.label == found.label else "relabel"
    return row


def _as_found(found: Found) -> dict[str, Any]:
    box = dict(zip(_BOX, found.box, strict=True))
    return {**_NOTHING, **box, "action": "accept", "label": found.label, "track_id": found.track_id}
