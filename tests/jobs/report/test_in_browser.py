"""The page in a real browser: what a reader does, and that nothing leaves the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from jobs.report.build import write_report
from tests.browsers import open_browser, quiet_page
from tests.jobs.report.fabricate import detection, failed_row, ok_row, save_picture, write_run

HOSTILE = "<img src=x onerror=document.title='owned'>"
TURNED = "photo\u202egpj.exe\x1b[31m\n"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    rows = []
    for i in range(6):
        found = [detection(3, 0.9 - i / 10, (5, 5, 40, 30))] if i < 4 else []
        found += [detection(0, 0.35 + i / 10, (20, 10, 60, 45))] if i % 2 else []
        rows.append(ok_row(save_picture(folder / f"photos/{i}.jpg", color=(40 * i, 90, 120)), found))
    odd = detection(1, 0.77, (0, 0, 9, 9)) | {"label": HOSTILE}
    rows.append(ok_row(save_picture(folder / f"photos/{HOSTILE.replace('/', '')}.jpg"), [odd]))
    rows += [failed_row(f"/photos/bad{i}.jpg", "decode", "truncated", HOSTILE) for i in range(3)]
    rows += [failed_row("/photos/gone.jpg", "read", "missing", "gone")]
    return Path(write_report(write_run(folder / "run", rows, source=str(folder / "photos"))))


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    """The loaded page; fails on anything the console says and on every request but the page's own."""
    with quiet_page(browser, report) as opened:
        yield opened


def cards(page: Page) -> list[str]:
    return page.locator(".card .card-line:first-child > :first-child").all_inner_texts()


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def test_the_page_opens_on_the_sample_with_drawn_pictures(page: Page) -> None:
    expect(page.get_by_role("tab", name="Sample")).to_have_attribute("aria-selected", "true")
    assert sorted(cards(page))[:5] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "5.jpg"]
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.locator(".card .box").count() == 8


def test_a_box_lies_where_its_pixels_are(page: Page) -> None:
    card = page.locator(".card", has_text="0.jpg")
    frame, box = card.locator(".frame").bounding_box(), card.locator(".box .hit").first.bounding_box()
    assert frame is not None
    assert box is not None
    assert box["x"] - frame["x"] == pytest.approx(5 / 64 * frame["width"], abs=1)
    assert box["y"] - frame["y"] == pytest.approx(5 / 48 * frame["height"], abs=1)
    assert box["width"] == pytest.approx(35 / 64 * frame["width"], abs=1)
    assert frame["width"] / frame["height"] == pytest.approx(64 / 48, rel=0.01)


def test_boxes_carry_label_and_score_in_the_color_of_the_label(page: Page) -> None:
    card = page.locator(".card", has_text="1.jpg")
    assert sorted(card.locator(".tag").all_inner_texts()) == ["dog 0.80", "person 0.45"]
    swatch = page.locator(".label-row", has_text="dog").locator(".swatch")
    color = "node => getComputedStyle(node).backgroundColor"
    assert card.locator(".tag", has_text="dog").evaluate(color) == swatch.evaluate(color)


def test_a_click_on_a_label_filters_and_a_second_one_undoes_it(page: Page) -> None:
    row = page.locator(".label-row", has_text="person")
    row.click()
    expect(row).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#result")).to_contain_text("label person")
    assert sorted(cards(page)) == ["1.jpg", "3.jpg", "5.jpg"]
    expect(page.locator('[data-chart="scores"] figcaption')).to_contain_text("label person")
    row.click()
    assert len(cards(page)) == 6


def test_search_counts_matches_and_says_when_there_are_none(page: Page) -> None:
    page.fill("#search", "dOg")
    expect(page.locator("#result")).to_have_text("4 of 6 images · label contains “dOg”")
    assert page.locator(".label-row:visible").count() == 1
    page.fill("#search", "unicorn")
    expect(page.locator("#no-cards")).to_contain_text("No label of this run contains “unicorn”.")
    assert cards(page) == []
    page.get_by_role("button", name="Clear filter").click()
    expect(page.locator("#no-cards")).to_be_hidden()
    expect(page.locator("#search")).to_have_value("")
    assert len(cards(page)) == 6


def test_tabs_show_their_images_by_mouse_and_keyboard(page: Page) -> None:
    tab(page, "Highest")
    assert cards(page)[0] == "0.jpg"
    tab(page, "Empty")
    assert cards(page) == ["4.jpg"]
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Failures")).to_be_focused()
    assert sorted(cards(page)) == ["bad0.jpg", "bad1.jpg", "bad2.jpg", "gone.jpg"]
    expect(page.locator(".card .blank").first).to_contain_text(HOSTILE)


def test_the_nothing_found_state_leads_to_tabs_that_have_matches(page: Page) -> None:
    tab(page, "Empty")
    page.fill("#search", "dog")
    expect(page.locator("#no-cards")).to_contain_text("These images have no labels.")
    page.locator(".elsewhere button", has_text="Lowest").click()
    expect(page.get_by_role("tab", name="Lowest")).to_have_attribute("aria-selected", "true")
    assert len(cards(page)) > 0


def test_a_reason_of_failure_leads_to_its_inputs(page: Page) -> None:
    page.get_by_role("button", name="missing").click()
    assert cards(page) == ["gone.jpg"]
    expect(page.locator("#result")).to_contain_text("reason read/missing")


def test_the_slider_hides_boxes_below(page: Page) -> None:
    before = page.locator(".card .box").count()
    page.locator("#min-score").evaluate(
        "node => { node.value = 0.7; node.dispatchEvent(new Event('input')); }"
    )
    expect(page.locator("#min-score-value")).to_have_text("0.70")
    assert 0 < page.locator(".card .box").count() < before
    scores = [float(text.split()[-1]) for text in page.locator(".card .tag").all_text_contents()]
    assert min(scores) >= 0.7


def test_the_lightbox_opens_steps_and_closes(page: Page) -> None:
    page.fill("#search", "person")
    first, second = cards(page)[:2]
    page.locator(".card").first.click()
    dialog = page.locator("#lightbox")
    expect(dialog).to_be_visible()
    expect(page.locator("#lightbox-name")).to_have_text(first)
    expect(page.locator("#lightbox-uri")).to_contain_text(f"/photos/{first}")
    expect(page.locator("#lightbox-place")).to_have_text("1 of 3")
    expect(page.locator("#lightbox-previous")).to_be_disabled()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#lightbox-name")).to_have_text(second)
    row = page.locator("#lightbox-rows tr").first
    row.hover()
    expect(page.locator("#lightbox-stage .box.hot")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator(".card").first).to_be_focused()


def test_hovering_over_a_box_marks_its_row(page: Page) -> None:
    page.fill("#search", "person")
    page.locator(".card").first.click()
    page.locator("#lightbox-stage .box .hit").last.hover()
    expect(page.locator("#lightbox-rows tr.hot")).to_have_count(1)
    page.locator("#lightbox-close").click()
    expect(page.locator("#lightbox")).to_be_hidden()


def test_everything_is_reachable_by_keyboard(page: Page) -> None:
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("dog")
    page.locator(".card").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#lightbox")).to_be_visible()


@pytest.mark.parametrize("width", [360, 768, 1600])
def test_no_width_scrolls_sideways(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert len(cards(page)) == 6


def test_hostile_names_labels_messages_and_models_are_text(browser: Browser, tmp_path: Path) -> None:
    script = "</script><script>document.title='owned'</script>"
    names = [
        f"{i}{text.replace('/', '')}.jpg" for i, text in enumerate((HOSTILE, script, TURNED, "'\"&amp;%00"))
    ]
    rows = []
    for name, label in zip(
        names, (HOSTILE, script, "javascript:document.title='owned'", "{{7*7}}"), strict=True
    ):
        found = detection(1, 0.77, (0, 0, 9, 9)) | {"label": label}
        rows.append(ok_row(save_picture(tmp_path / "photos" / name), [found]))
        rows.append(failed_row(f"/photos/bad{name}", "decode", f"code{HOSTILE}", f"{script}{TURNED}"))
    run = write_run(
        tmp_path / "run",
        rows,
        source=f"/photos/{script}",
        model=HOSTILE,
        labels=[HOSTILE, script, TURNED],
    )
    with quiet_page(browser, Path(write_report(run))) as page:
        expect(page.locator("h1")).to_contain_text(HOSTILE)
        assert page.evaluate("document.scripts.length") == 2
        assert page.locator("img:not(.card img):not(#lightbox img)").count() == 0
        shown = cards(page)
        assert "2photo\\u202egpj.exe\\u001b[31m\\u000a.jpg" in shown
        for row in page.locator(".label-row").all():
            row.click(click_count=2)
        page.locator(".card").first.click()
        expect(page.locator("#lightbox")).to_be_visible()
        page.keyboard.press("Escape")
        tab(page, "Failures")
        expect(page.locator(".card .blank").first).to_contain_text("document.title='owned'")
        assert "\u202e" not in page.locator("body").inner_text().replace("\\u202e", "")


def test_injected_markup_could_not_run(browser: Browser, report: Path) -> None:
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(report.as_uri())
    title = page.title()
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<b onclick=\"document.title=1\">x</b>')")
    page.locator("body > b").evaluate("node => node.click()")
    assert page.title() == title
    assert len(said) == 1
    assert "Content Security Policy" in said[0]
    page.close()
