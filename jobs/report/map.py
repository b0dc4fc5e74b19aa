"""The page of a map: points where vectors lie, coloured by folder, some of them pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from jobs.report.colors import label_color
from jobs.report.page import STYLES, asset_text, content_policy, find_template

TEMPLATE = "map.html.j2"
MAX_KEYS = 20


@dataclass(frozen=True, slots=True)
class MapPoint:
    """One input: `x` and `y` from 0 to 1, down; `group` decides the colour; a picture is a data URI."""

    x: float
    y: float
    name: str
    group: str
    picture: str | None


def render_map(*, title: str, about: str, points: Sequence[MapPoint]) -> str:
    """The page as HTML; it refers to nothing outside itself and runs nothing."""
    groups = sorted({point.group for point in points})
    colors = {group: label_color(index) for index, group in enumerate(groups)}
    return find_template(TEMPLATE).render(
        title=title,
        about=about,
        points=[(point, colors[point.group]) for point in points],
        keys=list(colors.items())[:MAX_KEYS],
        policy=content_policy(""),
        style=Markup(asset_text((*STYLES, "scans.css"))),
    )
