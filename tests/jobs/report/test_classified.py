"""The report of a classifier's run: labels on pictures, counted by the likeliest one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from playwright.sync_api import Browser, Page, expect

from cvcore.errors import SpecError
from jobs.outcome import refuse_without_boxes
from jobs.report.build import build_report, survey_run, write_report
from jobs.report.run import read_run
from jobs.report.views import charts, counters, warnings
from jobs.run_folder import RunFolder, read_job
from jobs.run_rows import read_table
from jobs.schemas import classify_schema
from jobs.sink import encode_part
from jobs.storage.local import LocalStore
from tests.browsers import open_browser, quiet_page
from tests.jobs.report.fabricate import save_picture, write_run

NAMES = ("cat", "dog", "<b>zebra</b>")
FAILED = {"status": "decode", "error_code": "truncated", "error": "cut"}


def told(*pairs: tuple[int, float]) -> list[dict[str, Any]]:
    return [{"label": NAMES[k], "label_id": k, "score": score} for k, score in pairs]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classified")
    labels = [told((0, 0.9), (1, 0.06), (2, 0.04)), told((0, 0.5), (2, 0.4)), told((1, 0.7), (0, 0.2)), None]
    rows = []
    for i, each in enumerate(labels):
        uri = save_picture(folder / f"photos/{i}.jpg", color=(60 * i, 90, 120))
        about = FAILED if each is None else {"status": "ok", "width": 64, "height": 48}
        rows.append({"uri": uri, "etag": LocalStore().stat(uri).etag, "labels": each, **about})
    made = write_run(folder / "run", [], source=str(folder / "photos"))
    where, store = RunFolder(made), LocalStore()
    record = read_job(where, store)
    assert record is not None
    store.put(
        where.job, json.dumps(asdict(record) | {"num_inputs": 4, "num_units": 1, "num_images": 4}).encode()
    )
    store.put(where.file(0), encode_part(pa.Table.from_pylist(rows, classify_schema()), {}))
    manifest = json.loads(store.read(where.success))
    manifest["counts"] = {"inputs": 4, "ok": 3, "failed": 1, "images": 4, "videos": 0, "classified": 3}
    store.put(where.success, json.dumps(manifest).encode())
    return Path(made)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as started:
        yield started


@pytest.fixture
def page(browser: Browser, run: Path) -> Iterator[Page]:
    with quiet_page(browser, Path(write_report(str(run)))) as opened:
        yield opened


def test_images_count_by_their_likeliest_label(run: Path) -> None:
    store = LocalStore()
    found = read_run(str(run), store)
    survey = survey_run(found, store)
    statistics = survey.statistics
    assert {name: each.num_detections for name, each in statistics.labels.items()} == {"cat": 2, "dog": 1}
    assert [each.value for each in counters(found, statistics) if each.name == "Classified"] == ["3"]
    assert [chart.key for chart in charts(statistics)] == ["scores", "images"]
    assert warnings(found, statistics) == []
    assert "empty" not in survey.chosen
    assert [candidate.value for candidate in survey.chosen["highest"]] == pytest.approx([0.9, 0.7, 0.5])


def test_what_needs_boxes_refuses_such_a_run(run: Path) -> None:
    counts = json.loads((run / "_SUCCESS.json").read_text())["counts"]
    with pytest.raises(SpecError, match="is a classifier's run, with labels and no boxes"):
        refuse_without_boxes(counts, str(run))
    table = read_table(RunFolder(str(run)), LocalStore(), ["labels", "detections"])
    assert table is not None
    assert table.column_names == ["labels"]


def test_labels_are_inert_text(run: Path) -> None:
    assert "<b>zebra" not in build_report(str(run), store=LocalStore())


def test_pictures_show_their_labels_and_filters_go_by_the_likeliest(page: Page) -> None:
    expect(page.locator(".card")).to_have_count(3)
    card = page.locator(".card", has_text="0.jpg")
    assert card.locator(".told .tag").all_inner_texts() == ["cat 0.90", "dog 0.06", "<b>zebra</b> 0.04"]
    assert page.locator(".box").count() == 0
    page.locator(".label-row", has_text="dog").click()
    expect(page.locator(".card")).to_have_count(1)
    expect(page.locator(".card")).to_contain_text("dog 0.70")


def test_the_large_picture_lists_all_labels_without_places(page: Page) -> None:
    page.locator(".card", has_text="0.jpg").click()
    rows = page.locator("#lightbox-rows tr")
    expect(rows).to_have_count(3)
    assert page.locator("#lightbox th").all_inner_texts() == ["Label", "Score"]
    assert rows.nth(1).locator("td").all_inner_texts() == ["dog", "0.060"]
    expect(page.locator("#lightbox-facts")).to_contain_text("3 labels")
