"""Selections against the same question asked in Python, and filters through an address and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from cvcore.errors import SpecError
from jobs.export.queue import doubt
from jobs.storage import Access
from jobs.view.filters import Filter, parse_filter
from jobs.view.session import ViewSession, open_view
from tests.exchange import make_rows, video_rows, write_run

NUM = 40


def opened(run: Path) -> ViewSession:
    return open_view(str(run), who="ann", access=Access())


def names(session: ViewSession, chosen: Filter) -> list[tuple[str, int | None]]:
    found: list[tuple[str, int | None]] = []
    page = 0
    while True:
        answer = session.page(chosen, page, fresh=page == 0)
        found += [(card["uri"], card["frame"]) for card in answer["cards"]]
        page += 1
        if page >= answer["pages"]:
            assert answer["total"] == len(found)
            return found


def fits(each: dict[str, Any], chosen: Filter) -> bool:
    return (
        (not chosen.labels or each["label"] in chosen.labels)
        and chosen.min_score <= each["score"] <= chosen.max_score
        and (chosen.track is None or each.get("track_id") == chosen.track)
    )


def expected(rows: list[dict[str, Any]], chosen: Filter) -> list[tuple[str, int | None]]:
    kept = []
    for row in rows:
        matching = [each for each in row["detections"] or () if fits(each, chosen)]
        by_status = {
            "any": True,
            "ok": row["status"] == "ok",
            "found": bool(row["detections"]),
            "empty": row["detections"] == [],
            "failed": row["status"] != "ok",
        }.get(chosen.status, row.get("error_code") == chosen.status)
        if (matching or not chosen.of_detections) and by_status and chosen.name.lower() in row["uri"].lower():
            kept.append((row, [each["score"] for each in matching]))
    orders: dict[str, Any] = {
        "run": lambda item: item is None,
        "uncertain": lambda item: (not item[1], -doubt(item[1])),
        "highest": lambda item: (not item[1], -max(item[1], default=0)),
        "lowest": lambda item: (not item[1], max(item[1], default=0)),
    }
    kept.sort(key=orders[chosen.order])
    return [(row["uri"], row.get("frame_index")) for row, _ in kept]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[ViewSession, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("images")
    rows = make_rows(folder, num=NUM, seed=5)
    return opened(write_run(folder, rows, parts=3)), rows


@pytest.mark.parametrize(
    "chosen",
    [
        Filter(),
        Filter(labels=("car",)),
        Filter(labels=("car", "dog"), min_score=0.5),
        Filter(labels=("dog",), min_score=0.3, max_score=0.6, order="uncertain"),
        Filter(max_score=0.2),
        Filter(order="uncertain"),
        Filter(order="highest"),
        Filter(order="lowest", labels=("traffic light",)),
        Filter(status="empty"),
        Filter(status="failed"),
        Filter(status="truncated"),
        Filter(status="found", order="lowest"),
        Filter(status="no_such_code"),
        Filter(name="IMG 01"),
        Filter(name="%"),
    ],
    ids=lambda chosen: chosen.as_query() or "all",
)
def test_a_selection_is_what_a_loop_finds(
    images: tuple[ViewSession, list[dict[str, Any]]], chosen: Filter
) -> None:
    session, rows = images
    assert names(session, chosen) == expected(rows, chosen)
    assert parse_filter(parse_qs(chosen.as_query())) == chosen


def test_tracks_of_a_video(tmp_path: Path) -> None:
    rows = video_rows(tmp_path)
    session = opened(write_run(tmp_path, rows, tracks=True))
    for chosen in (Filter(track=2), Filter(track=1, min_score=0.5), Filter(track=7)):
        assert names(session, chosen) == expected(rows, chosen)
    assert session.facts.has_tracks
    assert session.facts.noun == "frame"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("min_score=high", "min_score is a number, not 'high'"),
        ("min_score=1.5", "from 0 to 1, not 1.5"),
        ("min_score=nan", "from 0 to 1"),
        ("min_score=0.8&max_score=0.2", "at least 0.8 and at most 0.2"),
        ("track=1.5", "track is a number"),
        ("order=best", "no order 'best'"),
        ("state=decidd", "Did you mean 'decided'"),
        ("status=' or 1=1", "a status is one of any, ok"),
    ],
)
def test_what_is_no_filter(query: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        parse_filter(parse_qs(query))
