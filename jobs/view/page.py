"""The page itself: one HTML file with its script and style, which asks its own server for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from jobs.query.row_index import LabelCount
from jobs.report.colors import ink_color, label_color
from jobs.report.page import asset_text, find_template, inert_json, script_source
from jobs.storage import base_name
from jobs.view.filters import ORDERS, STATES
from jobs.visible import visible

PACKAGE = "jobs.view"
TEMPLATE = "view.html.j2"
SHARED_STYLES = ("page.css", "gallery.css")
STYLES = ("view.css", "desk.css")
SHARED_SCRIPTS = ("overlay.js",)
SCRIPTS = ("server.js", "objects.js", "chosen.js", "grid.js", "relabel.js", "desk.js", "view.js")


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What is known of a run before any page of it is shown.

    Attributes:
        run, model, source: as the run says.
        noun: what a row is of.
        who: reviews.
        partial: whether the run is not finished.
        has_tracks, has_masks: what its rows may hold.
        num_images: that have a row.
        num_looked_at: of them, those that did not fail.
        labels: that were found, the most frequent first.
        more_labels: that something may be relabelled to, beside those.
        failures: by error code.
    """

    run: str
    model: str
    source: str
    noun: str
    who: str
    partial: bool
    has_tracks: bool
    has_masks: bool
    num_images: int
    num_looked_at: int
    labels: tuple[LabelCount, ...]
    more_labels: tuple[str, ...]
    failures: Mapping[str, int]


def render_view(facts: PageFacts) -> str:
    """The page as HTML."""
    return find_template(TEMPLATE, package=PACKAGE).render(
        name=visible(base_name(facts.run) or facts.run),
        facts=facts,
        style=Markup(asset_text(SHARED_STYLES) + asset_text(STYLES, package=PACKAGE)),
        script=Markup(_script()),
        data=inert_json(_page_data(facts)),
        orders=ORDERS,
        states=STATES,
    )


def page_policy() -> str:
    """The content policy of the page: its own script, its own server, nothing else; in no frame."""
    return (
        "default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'unsafe-inline'; "
        f"script-src {script_source(_script())}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _script() -> str:
    return asset_text(SHARED_SCRIPTS) + asset_text(SCRIPTS, package=PACKAGE)


def _page_data(facts: PageFacts) -> dict[str, Any]:
    """What the script reads."""
    counted = {each.label: each for each in facts.labels}
    places = {label: k for k, label in enumerate(facts.more_labels)}
    labels = [(each.label, each.label_id, each.count) for each in facts.labels]
    labels += [(label, places[label], 0) for label in facts.more_labels if label not in counted]
    return {
        "noun": facts.noun,
        "found": "detection",
        "numImages": facts.num_images,
        "numLookedAt": facts.num_looked_at,
        "labels": [
            {"name": name, "color": label_color(k), "ink": ink_color(label_color(k)), "count": count}
            for name, k, count in labels
        ],
    }
