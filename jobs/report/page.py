"""The page: sections, script and pictures in one HTML file that refers to nothing outside itself.

Charts are a dozen lines of SVG each. A chart library would weigh some 200 kB in every report and bring its
own rendering quirks, for bars.

Text of the run (labels, file names, messages) reaches the page in two ways only: escaped by the template, or
inside a JSON block whose script writes it with `textContent`. The content policy allows this one script.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from jobs.report import text, views
from jobs.report.cards import Card, Place
from jobs.report.gallery import Candidate, ShelfName
from jobs.report.rows import Kind
from jobs.report.run import Run
from jobs.report.statistics import Statistics
from jobs.report.videos import VideoView

PACKAGE = "jobs.report"
SCRIPTS = ("overlay.js", "lightbox.js", "gallery.js", "main.js")
STYLES = ("page.css", "gallery.css", "videos.css")
PLOT_STYLES = (*STYLES, "plot.css")
EVALUATION_STYLES = (*PLOT_STYLES, "evaluation.css")
TEMPLATE = "page.html.j2"

TABS: dict[ShelfName, tuple[str, str]] = {
    "sample": ("Sample", "A random choice among the {nouns} of each label."),
    "highest": ("Highest", "The {nouns} with the highest score, labels taking turns."),
    "lowest": ("Lowest", "The {nouns} whose best detection scored lowest: something was seen, but barely."),
    "uncertain": (
        "Most uncertain",
        "The {nouns} whose scores are nearest to a coin toss: the greatest mean binary entropy.",
    ),
    "empty": ("Empty", "A random choice among {nouns} that were looked at and found empty."),
    "failed": ("Failures", "A random choice among the inputs that failed for each reason."),
}

ABOUTS: dict[Kind, dict[ShelfName, str]] = {
    "detections": {},
    "proposals": {},
    "labels": {
        "highest": "The {nouns} whose likeliest label is surest, labels taking turns.",
        "lowest": "The {nouns} whose likeliest label is least sure.",
        "uncertain": "The {nouns} whose likeliest label is nearest to a coin toss.",
    },
    "classes": {
        "sample": "A random choice among the {nouns} that show each class.",
        "highest": "The {nouns} with the largest share of one class, classes taking turns.",
        "lowest": "The {nouns} whose largest class has the smallest share.",
        "empty": "A random choice among {nouns} that are background alone.",
    },
}
"""What tabs are about, by what a run holds, where that differs."""
FOUND: dict[Kind, str] = {
    "detections": "detection",
    "proposals": "proposal",
    "labels": "label",
    "classes": "class",
}
LEAST: dict[Kind, str] = {
    "detections": "Min score",
    "proposals": "Min score",
    "labels": "Min probability",
    "classes": "Min share",
}
"""What the filter by score is called."""


@dataclass(frozen=True, slots=True)
class PageContent:
    """All that a page shows."""

    run: Run
    statistics: Statistics
    chosen: Mapping[ShelfName, Sequence[Candidate]]
    cards: Mapping[Place, Card]
    videos: Sequence[VideoView] = ()
    num_more_videos: int = 0


def render_page(content: PageContent) -> str:
    """The page as HTML."""
    run, statistics = content.run, content.statistics
    script = asset_text(SCRIPTS)
    rows = views.label_rows(statistics)
    return find_template(TEMPLATE).render(
        run=run,
        model=views.model_title(run),
        policy=content_policy(script),
        style=Markup(asset_text(STYLES)),
        script=Markup(script),
        data=inert_json(_page_data(content, rows)),
        facts=views.facts(run),
        warnings=views.warnings(run, statistics),
        counters=views.counters(run, statistics),
        labels=rows,
        not_found=views.labels_not_found(run, statistics),
        charts=views.charts(statistics, noun=run.noun),
        failures=views.failure_rows(statistics),
        tabs={name: title for name, (title, _) in TABS.items()},
        shelves={name: len(candidates) for name, candidates in content.chosen.items()},
        attempts=[views.attempt_row(attempt) for attempt in run.attempts],
        spec=json.dumps(run.record.spec, indent=2, ensure_ascii=False),
        statistics=statistics,
        least=LEAST[statistics.kind],
        has_overlays=any(card.map or any(card.masks) for card in content.cards.values()),
        videos=content.videos,
        num_more_videos=content.num_more_videos,
    )


def find_template(name: str, *, package: str = PACKAGE) -> Template:
    """A template of a package; what is put into it is escaped, and what it misses is an error."""
    environment = Environment(
        loader=FunctionLoader(lambda name: read_asset(name, package=package)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["integer"] = text.integer
    return environment.get_template(name)


def inert_json(value: Any) -> Markup:
    """JSON that no HTML parser can take for markup, whatever its strings hold."""
    body = json.dumps(value, separators=(",", ":"), allow_nan=False)  # ASCII: U+2028 is escaped with the rest
    for char in "<>&":
        body = body.replace(char, f"\\u{ord(char):04x}")
    return Markup(body)


def _page_data(content: PageContent, rows: Sequence[views.LabelRow]) -> dict[str, Any]:
    """What the script reads. A card stands once, however many tabs show it."""
    statistics, noun = content.statistics, content.run.noun
    listed = {row.name for row in rows}
    shown = {d["label"] or "": d.get("label_id") or 0 for c in content.cards.values() for d in c.detections}
    rows = [*rows, *views.unlisted_rows({name: k for name, k in shown.items() if name not in listed})]
    label_index = {row.name: i for i, row in enumerate(rows)}
    abouts = {name: about for name, (_, about) in TABS.items()}
    abouts |= ABOUTS[statistics.kind]
    places = list(content.cards)
    number = {place: i for i, place in enumerate(places)}
    return {
        "noun": noun,
        "found": FOUND[statistics.kind],
        "scored": views.scored_by(statistics, noun),
        "labels": [
            {"name": r.name, "color": r.color, "ink": r.ink, "count": r.count, "hist": r.histogram}
            for r in rows
        ],
        "cards": [content.cards[place].as_json(label_index) for place in places],
        "tabs": [
            {
                "key": name,
                "title": TABS[name][0],
                "about": abouts[name].format(nouns=f"{noun}s"),
                "cards": [[number[c.part, c.row], _note(name, c)] for c in candidates],
            }
            for name, candidates in content.chosen.items()
        ],
    }


def _note(shelf: ShelfName, candidate: Candidate) -> str:
    """What put a card on its shelf."""
    if shelf == "uncertain":
        return f"{candidate.value:.2f} bit"
    return f"{candidate.value:.2f}" if shelf in ("highest", "lowest") else ""


def content_policy(script: str) -> str:
    """A content policy that lets nothing out and runs this one script.

    Browsers that know hashes ignore 'unsafe-inline' beside one, so markup that slipped in could not run.
    """
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src {script_source(script)}; base-uri 'none'; form-action 'none'"
    )


def script_source(script: str) -> str:
    """The source of this one script, as a content policy names it."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return f"'unsafe-inline' 'sha256-{digest}'"


def asset_text(names: Sequence[str], *, package: str = PACKAGE) -> str:
    """Files of a package, one after the other."""
    return "\n".join(read_asset(name, package=package) for name in names)


def read_asset(name: str, *, package: str = PACKAGE) -> str:
    """A file of a package."""
    return files(package).joinpath(name).read_text(encoding="utf-8")
