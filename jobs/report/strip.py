"""A page of one picture and of those that look like it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from jobs.report.page import STYLES, asset_text, content_policy, find_template

TEMPLATE = "strip.html.j2"


@dataclass(frozen=True, slots=True)
class StripItem:
    """A picture as a data URI, or the reason why there is none; `note` is its similarity."""

    name: str
    uri: str
    note: str
    picture: str | None
    missing: str


def render_strip(query: StripItem, items: Sequence[StripItem]) -> str:
    """The page as HTML; it refers to nothing outside itself and runs nothing."""
    return find_template(TEMPLATE).render(
        query=query, items=items, policy=content_policy(""), style=Markup(asset_text((*STYLES, "scans.css")))
    )
