"""The dashboard and the alerts: every query is PromQL about metrics, and labels, that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from cluster.schedules.metrics import METRICS as SCHEDULE_METRICS
from jobs.metrics import METRICS, series_names

FOLDER = Path(__file__).parents[1] / "docs" / "monitoring"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
ALERTS = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
LABELS = {
    **{
        series: {*entry.all_labels, "le"}
        for name, entry in METRICS.items()
        for series in series_names(name, entry)
    },
    **{name: {"schedule", *labels} for name, (_, labels) in SCHEDULE_METRICS.items()},
}
_LABEL_VALUES = re.compile(r"label_values\((.+), (\w+)\)")
_SHOWN = re.compile(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}")


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str, str]]:
    """(where it stands, the query, what is shown beside its values)."""
    for panel in panels():
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"], target["legendFormat"]
    for rule in ALERTS["groups"][0]["rules"]:
        yield rule["alert"], rule["expr"], " ".join(rule["annotations"].values())


def nodes(node: Any) -> Iterator[Any]:
    """A parsed query's parts, itself first."""
    yield node
    inner = [getattr(node, name, None) for name in ("lhs", "rhs", "expr", "vector_selector", "vs", "param")]
    inner += list(getattr(node, "args", None) or [])
    for each in inner:
        if isinstance(each, promql_parser.Expr):
            yield from nodes(each)


def selectors(query: str) -> list[Any]:
    found = [n for n in nodes(promql_parser.parse(query)) if isinstance(n, promql_parser.VectorSelector)]
    assert found, query
    return found


@pytest.mark.parametrize(("where", "query", "shown"), [pytest.param(*q, id=q[0]) for q in queries()])
def test_a_query_names_metrics_and_labels_that_there_are(where: str, query: str, shown: str) -> None:
    del where
    known: set[str] = set()
    for selector in selectors(query):
        assert selector.name in LABELS
        known |= LABELS[selector.name]
        assert {matcher.name for matcher in selector.matchers.matchers} <= LABELS[selector.name]
    for node in nodes(promql_parser.parse(query)):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            assert set(node.modifier.labels) <= known
    assert set(_SHOWN.findall(shown)) <= known


def test_every_metric_is_looked_at() -> None:
    names = {selector.name for _, query, _ in queries() for selector in selectors(query)}
    assert set(SCHEDULE_METRICS) <= names
    for name, entry in METRICS.items():
        assert names & set(series_names(name, entry)), name


def test_the_dashboards_variables_are_labels_and_are_used() -> None:
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert variables.pop("datasource")["type"] == "datasource"
    text = json.dumps(DASHBOARD["panels"])
    for name, variable in variables.items():
        found = _LABEL_VALUES.fullmatch(variable["query"]["query"])
        assert found is not None
        (selector,) = selectors(found[1])
        assert found[2] == name
        assert name in LABELS[selector.name]
        assert f"${name}" in text


def test_panels_lie_apart_and_have_numbers_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize(
    "query",
    ["sum(rate(ray_veedor_pictures_total[5m]))", "sum(rate(x[5m])", "ray_veedor_pictures_total", "1 + 1"],
)
def test_wrong_queries_are_found(query: str) -> None:
    with pytest.raises((ValueError, AssertionError)):
        assert all(selector.name in LABELS for selector in selectors(query))
