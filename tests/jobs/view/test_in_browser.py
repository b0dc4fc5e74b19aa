"""The page in a real browser: what a reviewer does by keyboard is in the run's corrections afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from jobs.storage import Access
from jobs.view.server import ViewServer
from jobs.view.session import open_view
from tests.browsers import open_browser
from tests.exchange import make_rows, write_run
from tests.jobs.export.test_corrected import ask, export

HOSTILE = "<img src=x onerror=document.title='owned'>"
NUM = 60


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as started:
        yield started


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rows = make_rows(tmp_path, num=NUM, write_images=True, masks=True)
    for row in rows:
        row["etag"] = ""
    rows[4]["detections"][0]["label"] = HOSTILE
    return write_run(tmp_path, rows, masks=True, labels=("car", "traffic light", "dog", HOSTILE))


@pytest.fixture
def server(run: Path) -> Iterator[ViewServer]:
    session = open_view(str(run), who="ann", access=Access())
    served = ViewServer(session)
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()
    session.close()


@pytest.fixture
def page(browser: Browser, server: ViewServer) -> Iterator[Page]:
    """The loaded page; fails on anything the console says and on every request but to its own server."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    expect.set_options(timeout=30_000)  # beside other tests, a page takes its time
    problems: list[str] = []
    opened.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: problems.append(str(error)))

    def refuse(route: Route) -> None:
        url = route.request.url
        if url.startswith((server.url(), "data:")):
            route.continue_()
            return
        problems.append(f"request: {url}")
        route.abort()

    opened.route("**/*", refuse)
    opened.goto(server.url())
    expect(opened.locator(".card").first).to_be_visible()
    yield opened
    assert opened.title() != "owned"
    opened.close()
    assert problems == []


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def rows_of(page: Page) -> list[str]:
    return [" ".join(text.split()) for text in page.locator(".object").all_inner_texts()]


def wait_for_acts(page: Page, *acts: str) -> None:
    expect(page.locator(".object-act")).to_have_text(list(acts))


def test_pictures_with_their_boxes_a_page_at_a_time(page: Page) -> None:
    expect(page.locator("#result")).to_have_text("1–48 of 60 images")
    expect(page.locator(".card")).to_have_count(48)
    page.wait_for_function(
        "[...document.querySelectorAll('.card img')].slice(0, 6).every(i => i.naturalWidth)"
    )
    assert page.locator(".card").first.locator(".box").count() == 3
    expect(page.locator(".card").nth(2)).to_contain_text("decode/truncated")
    press(page, "]")
    expect(page.locator("#result")).to_have_text("49–60 of 60 images")
    press(page, "[")
    expect(page.locator("#page-text")).to_have_text("1 / 2")


def test_filters_narrow_the_pictures_and_stand_in_the_address(page: Page, run: Path) -> None:
    page.locator(".label-row", has_text="dog").click()
    (dogs,) = ask(run, "select count(distinct uri) from detections where label = 'dog'")[0]
    expect(page.locator("#result")).to_contain_text(f"of {dogs} images")
    page.locator("#min-score").fill("0.7")
    sure = ask(run, "select count(distinct uri) from detections where label = 'dog' and score >= 0.7")[0][0]
    expect(page.locator("#result")).to_contain_text(f"{sure} images")
    assert 0 < sure < dogs
    assert "label=dog&min_score=0.7" in page.url
    page.reload()
    expect(page.locator("#result")).to_contain_text(f"{sure} images")
    page.get_by_role("button", name="Clear filters").click()
    page.locator("#status").select_option("empty")
    expect(page.locator("#result")).to_contain_text("1–1 of 1 image")
    page.locator("#name").fill("nowhere")
    expect(page.locator("#nothing")).to_be_visible()


def test_keys_decide_and_the_run_says_so(page: Page, run: Path) -> None:
    page.locator(".card").first.focus()
    press(page, "Enter")
    expect(page.locator("#desk-name")).to_have_text("img 000.jpg")
    wait_for_acts(page, "", "", "")
    press(page, "a")
    wait_for_acts(page, "accepted", "", "")
    press(page, "x")
    wait_for_acts(page, "accepted", "rejected", "")
    press(page, "l")
    page.keyboard.type("van")
    press(page, "Enter")
    wait_for_acts(page, "accepted", "rejected", "relabelled")
    expect(page.locator("#desk-state")).to_have_text("decided")
    press(page, " ")
    expect(page.locator("#desk-facts")).to_contain_text("nothing was found")
    press(page, " ")
    expect(page.locator("#desk-facts")).to_contain_text("failed in decode (truncated)")
    press(page, "n")
    expect(page.locator("#desk-name")).to_have_text("img 003.jpg")
    press(page, "ArrowDown", "x")
    wait_for_acts(page, "", "rejected", "")
    press(page, "s")
    expect(page.locator("#save")).to_have_text("Saved")
    press(page, "Escape")
    expect(page.locator("#progress-text")).to_have_text("2 of 59 decided")
    expect(page.locator(".badge")).to_have_text(["✓ decided", "✓ decided", "1 of 3"])
    said = (
        "select regexp_extract(uri, '[^/]*$'), number, action, label, who, tool from corrections order by all"
    )
    first = ask(run, "select label from detections where uri like '%000.jpg' and number = 0")[0][0]
    assert ask(run, said) == [
        ("img 000.jpg", 0, "accept", first, "ann", "veedor view"),
        ("img 000.jpg", 1, "reject", None, "ann", "veedor view"),
        ("img 000.jpg", 2, "relabel", "van", "ann", "veedor view"),
        ("img 001.jpg", None, "empty", None, "ann", "veedor view"),
        ("img 003.jpg", 1, "reject", None, "ann", "veedor view"),
    ]
    with (export(run, "csv", "out", corrections="only") / "detections.csv").open() as file:
        lines = [line.split(",")[3] for line in file][1:]
    assert lines == [first, "van"]


def test_taking_back_what_was_said(page: Page, run: Path) -> None:
    page.locator(".card").first.click()
    wait_for_acts(page, "", "", "")
    press(page, "x")
    wait_for_acts(page, "rejected", "", "")
    press(page, "ArrowUp", "u")
    wait_for_acts(page, "", "", "")
    press(page, "s")
    expect(page.locator("#save")).to_have_text("Saved")
    assert ask(run, "select action from corrections") == [("withdraw",)]


def test_accepting_from_the_grid(page: Page, run: Path) -> None:
    page.locator(".card").nth(3).focus()
    press(page, " ")
    expect(page.locator(".badge")).to_have_text(["✓ decided"])
    expect(page.locator(".card").nth(4)).to_be_focused()
    page.locator("#save").click()
    expect(page.locator("#save")).to_have_text("Saved")
    assert ask(run, "select distinct action, count(*) from corrections group by 1") == [("accept", 3)]


def test_masks_are_drawn_and_names_are_text(page: Page) -> None:
    page.locator(".card").nth(4).click()
    expect(page.locator("#desk-stage .box image")).to_have_count(3)
    assert rows_of(page)[0].startswith(HOSTILE)


def test_moving_beyond_the_page_and_its_end(page: Page) -> None:
    page.locator(".card").nth(47).click()
    expect(page.locator("#desk-place")).to_have_text("48 of 60")
    press(page, "ArrowRight")
    expect(page.locator("#desk-place")).to_have_text("49 of 60")
    press(page, "ArrowLeft")
    expect(page.locator("#desk-place")).to_have_text("48 of 60")


def test_a_picture_that_is_gone_is_said(browser: Browser, server: ViewServer, run: Path) -> None:
    name: Any = ask(run, "select uri from images where uri like '%005.jpg'")[0][0]
    Path(name).unlink()
    opened = browser.new_page()
    opened.goto(server.url())
    card = opened.locator(".card").nth(5)
    expect(card.locator(".blank")).to_contain_text("The picture cannot be shown")
    opened.close()


def test_without_the_token_there_is_nothing(browser: Browser, server: ViewServer) -> None:
    opened = browser.new_page()
    answer = opened.goto(f"http://127.0.0.1:{server.server_port}/")
    assert answer is not None
    assert answer.status == 404
    expect(opened.locator("body")).to_have_text("use the whole address that veedor view printed")
    opened.close()
