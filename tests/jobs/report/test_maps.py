"""The report of a segmenter's run: class maps over pictures, counted by the classes in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from playwright.sync_api import Browser, Page, expect

from cvcore.datasets.mask_files import encode_mask
from jobs.report.build import survey_run, write_report
from jobs.report.run import read_run
from jobs.report.views import charts, counters, warnings
from jobs.run_folder import RunFolder, read_job
from jobs.schemas import segment_schema
from jobs.sink import encode_part
from jobs.storage.local import LocalStore
from tests.browsers import open_browser, quiet_page
from tests.jobs.report.fabricate import save_picture, write_run

NAMES = ("background", "nut", "<b>bolt</b>")
FAILED = {"status": "decode", "error_code": "truncated", "error": "cut"}
SHARES = ({1: 0.25, 2: 0.5}, {1: 0.5}, {}, None)
"""Of each image: how much of it is of which class, from the left; None failed."""


def row_of(shares: dict[int, float] | None) -> dict[str, Any]:
    if shares is None:
        return {"classes": None, "map": None, **FAILED}
    ids = np.zeros((48, 64), np.uint8)
    start = 0
    for label_id, share in shares.items():
        stop = start + round(64 * share)
        ids[:, start:stop] = label_id
        start = stop
    counts = np.bincount(ids.ravel(), minlength=len(NAMES)).tolist()
    classes = [{"label": NAMES[k], "label_id": k, "pixels": n} for k, n in enumerate(counts) if n]
    return {"status": "ok", "width": 64, "height": 48, "classes": classes, "map": encode_mask(ids)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("maps")
    rows = []
    for i, shares in enumerate(SHARES):
        uri = save_picture(folder / f"photos/{i}.jpg", color=(60 * i, 90, 120))
        rows.append({"uri": uri, "etag": LocalStore().stat(uri).etag, **row_of(shares)})
    made = write_run(folder / "run", [], source=str(folder / "photos"))
    where, store = RunFolder(made), LocalStore()
    record = read_job(where, store)
    assert record is not None
    store.put(
        where.job, json.dumps(asdict(record) | {"num_inputs": 4, "num_units": 1, "num_images": 4}).encode()
    )
    store.put(where.file(0), encode_part(pa.Table.from_pylist(rows, segment_schema()), {}))
    manifest = json.loads(store.read(where.success))
    manifest["counts"] = {"inputs": 4, "ok": 3, "failed": 1, "images": 4, "videos": 0, "maps": 3}
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


def test_images_count_by_the_classes_in_their_maps(run: Path) -> None:
    store = LocalStore()
    found = read_run(str(run), store)
    survey = survey_run(found, store)
    statistics = survey.statistics
    images = {name: each.num_images for name, each in statistics.labels.items()}
    assert images == {"nut": 2, "<b>bolt</b>": 1}  # the background is no find
    assert [each.value for each in counters(found, statistics) if each.name == "Maps"] == ["3"]
    assert [chart.key for chart in charts(statistics)] == ["scores", "images"]
    assert warnings(found, statistics) == []
    assert "uncertain" not in survey.chosen
    assert [candidate.value for candidate in survey.chosen["highest"]] == pytest.approx([0.5, 0.5])
    assert len(survey.chosen["empty"]) == 1


def test_maps_lie_over_their_pictures_as_strongly_as_asked_for(page: Page) -> None:
    card = page.locator(".card", has_text="0.jpg")
    assert card.locator(".told .tag").all_inner_texts() == ["<b>bolt</b> 50.0%", "nut 25.0%"]
    layer = card.locator("img.map")
    assert layer.evaluate("node => [node.naturalWidth, node.naturalHeight]") == [64, 48]
    assert float(layer.evaluate("node => getComputedStyle(node).opacity")) == 0.5
    page.locator("#opacity").fill("0.9")
    assert float(layer.evaluate("node => getComputedStyle(node).opacity")) == 0.9
    assert page.inner_text("#opacity-value") == "90%"


def test_pixels_have_the_colours_of_their_classes_and_the_background_none(page: Page) -> None:
    card = page.locator(".card", has_text="0.jpg")
    read = """node => {
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [node.naturalWidth, node.naturalHeight];
        const context = canvas.getContext("2d", { willReadFrequently: true });
        context.drawImage(node, 0, 0);
        return [5, 30, 60].map((x) => [...context.getImageData(x, 20, 1, 1).data]);
    }"""
    nut, bolt, nothing = card.locator("img.map").evaluate(read)
    color = "node => getComputedStyle(node).backgroundColor"
    shown = [card.locator(".told .tag").nth(k).evaluate(color) for k in (1, 0)]
    assert [f"rgb({r}, {g}, {b})" for r, g, b, _ in (nut, bolt)] == shown
    assert (nut[3], bolt[3], nothing[3]) == (255, 255, 0)


def test_the_filter_goes_by_shares(page: Page) -> None:
    expect(page.locator(".card")).to_have_count(2)
    page.locator("#min-score").fill("0.4")
    card = page.locator(".card", has_text="0.jpg")
    assert card.locator(".told .tag").all_inner_texts() == ["<b>bolt</b> 50.0%"]
    page.locator(".card", has_text="1.jpg").click()
    assert page.locator("#lightbox-rows td").all_inner_texts() == ["nut", "50.0%"]
    assert "1 class" in page.inner_text("#lightbox-facts")
