"""What a check found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: what it belongs to, such as `storage`.
        text: what was found, in a sentence.
        remedy: what to do about it; of all that is not `ok`.
        facts: what was measured, for machines.
    """

    area: str
    level: Level
    text: str
    remedy: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.level == "ok") != (not self.remedy):
            raise ValueError(
                f"a {self.level} {'has no' if self.level == 'ok' else 'needs a'} remedy: {self.text}"
            )


def ok(area: str, text: str, **facts: Any) -> Finding:
    return Finding(area, "ok", text, facts=facts)


def warning(area: str, text: str, remedy: str, **facts: Any) -> Finding:
    """Jobs run, but slower or less surely than they could."""
    return Finding(area, "warning", text, remedy, facts)


def problem(area: str, text: str, remedy: str, **facts: Any) -> Finding:
    """Jobs fail."""
    return Finding(area, "problem", text, remedy, facts)


def has_problem(findings: Iterable[Finding]) -> bool:
    return any(found.level == "problem" for found in findings)
