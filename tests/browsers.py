"""A real browser for tests, and pages in it that must keep to themselves."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Chromium; skips the test where none is installed."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no browser here (looked for {', '.join(BROWSERS)})")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


@contextmanager
def quiet_page(browser: Browser, report: Path) -> Iterator[Page]:
    """The loaded page; fails on anything the console says and on every request but the page's own."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    problems: list[str] = []
    opened.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    own = report.as_uri()

    def refuse(route: Route) -> None:
        url = route.request.url
        if url == own or url.startswith("data:"):
            route.continue_()
            return
        problems.append(f"request: {url}")
        route.abort()

    opened.route("**/*", refuse)
    opened.goto(own)
    yield opened
    assert opened.title() != "owned"
    opened.close()
    assert problems == []
