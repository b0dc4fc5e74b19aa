"""The section on videos, of runs made up: what it chooses, its numbers, and how a browser shows it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from jobs.report import text, videos
from jobs.report.build import build_report, write_report
from jobs.report.filmstrip import StripFrame
from jobs.report.run import read_run
from jobs.report.timeline import TracksOfRows
from jobs.report.videos import VideoView, video_views
from jobs.run_folder import RunFolder
from jobs.storage.local import LocalStore
from tests.browsers import open_browser, quiet_page
from tests.jobs.report.fabricate import (
    LABELS,
    detection,
    failed_frame,
    frame_row,
    ok_row,
    save_clip,
    save_picture,
    write_run,
)

STORE = LocalStore()
HOSTILE = "<img src=x onerror=document.title='owned'>.mp4"
BOX = (20.0, 20.0, 60.0, 70.0)
FPS = 25


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as started:
        yield started


def seen(track_id: int | None, label_id: int = 0, score: float = 0.9, box: tuple[float, ...] = BOX) -> Any:
    return detection(label_id, score, box, track_id=track_id)


def views_of(run_uri: str) -> list[VideoView]:
    return video_views(read_run(run_uri, STORE), STORE, None)[0]


def walk(uri: str, spans: dict[int, tuple[int, int]], *, num_frames: int = 40) -> list[dict[str, Any]]:
    """Rows of a video in which track `id` is seen from the first to the last frame of its span."""
    return [
        frame_row(
            uri,
            frame,
            frame / FPS,
            [seen(i, i % len(LABELS)) for i, (a, b) in spans.items() if a <= frame <= b],
        )
        for frame in range(num_frames)
    ]


def points(path: str) -> list[tuple[float, float]]:
    """The distinct points of a path, in order."""
    found = [(float(x), float(y)) for x, y in re.findall(r"[ML](\d+),([\d.]+)", path)]
    return list(dict.fromkeys(found))


def test_bars_lie_where_their_tracks_were_seen(tmp_path: Path) -> None:
    spans = {1: (10, 20), 2: (0, 39), 3: (30, 30)}
    (view,) = views_of(write_run(tmp_path / "run", walk("/a.mp4", spans), tracked=True))
    assert [bar.name for bar in view.tracks] == ["#2 car", "#1 bicycle", "#3 dog"]
    for bar, (first, last) in zip(view.tracks, ((0, 39), (10, 20), (30, 30)), strict=True):
        assert bar.start == pytest.approx(first / 39)
        assert bar.width == pytest.approx(max(0.004, (last - first) / 39))
    assert view.tracks[1].title == "#1 bicycle: 0.4 s to 0.8 s, 11 detections, mean score 0.90"
    assert view.facts == "40 frames · 3 tracks"
    assert [at for _, at in view.ticks] == [0, 0.25, 0.5, 0.75, 1]
    assert view.ticks[-1][0] == "1.6 s"


def test_the_shortest_of_many_tracks_are_left_out(tmp_path: Path) -> None:
    spans = {i: (i % 7, i % 7 + i // 3) for i in range(1, 71)}
    (view,) = views_of(write_run(tmp_path / "run", walk("/a.mp4", spans, num_frames=60), tracked=True))
    shown = [int(bar.name.split()[0][1:]) for bar in view.tracks]
    assert sorted(shown) == sorted(sorted(spans, key=lambda i: (i // 3, -i))[10:])
    assert view.num_more_tracks == 10
    assert [bar.start for bar in view.tracks] == sorted(bar.start for bar in view.tracks)


def test_tracks_are_the_same_with_and_without_their_table(tmp_path: Path) -> None:
    rows = walk("/a.mp4", {i: (i, 3 * i) for i in range(1, 13)}) + walk("/b.mp4", {1: (0, 5), 2: (6, 6)})
    run = write_run(tmp_path / "run", rows, tracked=True)
    with_table = {view.uri: view for view in views_of(run)}
    Path(RunFolder(run).tracks).unlink()
    assert {view.uri: view for view in views_of(run)} == with_table


def test_tracks_of_rows_are_named_by_scores_and_leave_out_what_was_not_seen() -> None:
    def row(frame: int, *found: dict[str, Any]) -> dict[str, Any]:
        return frame_row("/a.mp4", frame, frame / FPS, list(found))

    tracks = TracksOfRows()
    tracks.add(row(0, seen(7, 0, 0.3)), 0.0)
    tracks.add(row(1, seen(7, 3, 0.9), seen(None)), 1.0)
    tracks.add(row(2, seen(7, 0, 0.3) | {"interpolated": True}), 2.0)
    tracks.add(row(3, seen(7, 0, 0.3)), 3.0)
    tracks.add(row(4, seen(7, 0, 0.9) | {"interpolated": True}), 4.0)
    (span,) = tracks.spans()
    assert (span.track_id, span.label, span.first, span.last, span.length) == (7, "dog", 0.0, 3.0, 3)
    assert span.mean_score == pytest.approx(0.5)


def test_each_frame_has_a_point_where_there_are_few(tmp_path: Path) -> None:
    counts = [0, 1, 2, 4, 3, 0, 0, 1]
    rows = [frame_row("/a.mp4", i, i / FPS, [detection(3, 0.5, BOX)] * n) for i, n in enumerate(counts)]
    (view,) = views_of(write_run(tmp_path / "run", rows))
    (line,) = view.lines
    assert (line.label, view.most, view.counted) == ("dog", "4", "Detections a frame")
    assert [y for _, y in points(line.path)] == [pytest.approx(100 - 96 * n / 4) for n in counts]


def test_many_frames_are_averaged_and_the_commonest_labels_kept(tmp_path: Path) -> None:
    rows = [
        frame_row("/a.mp4", i, i / FPS, [detection(j, 0.5, BOX) for j in range(6) if i % (j + 1) == 0])
        for i in range(1000)
    ]
    (view,) = views_of(write_run(tmp_path / "run", rows, rows_per_part=300))
    assert [line.label for line in view.lines] == LABELS[:5]
    assert view.num_more_labels == 1
    for j, line in enumerate(view.lines):
        means = [(100 - y) / 96 * float(view.most) for _, y in points(line.path)]
        assert len(means) == 200
        assert sum(means) * 5 == pytest.approx(math.ceil(1000 / (j + 1)), rel=0.01)


def test_what_belongs_to_no_track_is_not_counted(tmp_path: Path) -> None:
    rows = [frame_row("/a.mp4", i, i / FPS, [seen(1, 0), seen(None, 3), seen(None, 3)]) for i in range(9)]
    (view,) = views_of(write_run(tmp_path / "run", rows, tracked=True))
    assert [line.label for line in view.lines] == ["person"]
    assert (view.counted, view.most) == ("Tracked detections a frame", "1")


def test_failed_frames_interrupt_the_line_and_are_marked(tmp_path: Path) -> None:
    rows = walk("/a.mp4", {1: (0, 39)})
    rows[10:13] = [failed_frame("/a.mp4", i, i / FPS) for i in range(10, 13)]
    (view,) = views_of(write_run(tmp_path / "run", rows, tracked=True))
    assert [mark.title for mark in view.failed] == [
        f"frame {i}: decode, corrupt: /a.mp4, frame {i}: it cannot be decoded" for i in (10, 11, 12)
    ]
    assert [mark.start for mark in view.failed] == pytest.approx([i / 40 for i in (10, 11, 12)])
    assert view.facts == "40 frames · 1 track · 3 failed"
    (line,) = view.lines
    assert line.path.count("M") == 2
    assert {y for _, y in points(line.path)} == {4.0}, "a frame that failed is not one without detections"


def test_any_number_of_failures_takes_little_space_and_loses_none(tmp_path: Path) -> None:
    rows = [failed_frame("/a.mp4", i, i / FPS, "corrupt" if i % 2 else "truncated") for i in range(1000)]
    (view,) = views_of(write_run(tmp_path / "run", rows, rows_per_part=400))
    assert view.lines == ()
    assert len(view.failed) == 200
    told = [int(n) for mark in view.failed for n in re.findall(r": (\d+)", mark.title)]
    assert sum(told) == 1000
    assert "decode, corrupt: 2" in view.failed[0].title
    assert view.failed[-1].title.startswith("frames 995 to 999: ")
    assert view.failed[-1].start + view.failed[-1].width <= 1.0


@pytest.mark.parametrize("fps", [5, 25, 120])
def test_pictures_show_the_trails_of_all_rows_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fps: int
) -> None:
    rows = [
        frame_row("/a.mp4", i, i / fps, [seen(1 + i // 400, 0, 0.9, (i, 0, i + 9, 9))]) for i in range(1500)
    ]
    shown: dict[int, Any] = {}

    def keep(row: dict[str, Any], caption: str, trails: Any, _pictures: Any) -> StripFrame:
        shown[row["frame_index"]] = trails
        return StripFrame(caption, "data:")

    monkeypatch.setattr(videos, "strip_frame", keep)
    run = read_run(write_run(tmp_path / "run", rows, rows_per_part=500, tracked=True), STORE)
    some_pictures: Any = object()
    video_views(run, STORE, some_pictures)
    every = videos.Trails(videos.TRAIL_S)
    expected = {row["frame_index"]: every.add(row, row["timestamp_s"]) for row in rows}
    assert len(shown) == 8
    assert shown == {index: expected[index] for index in shown}
    assert len(shown[1499][0].points) == pytest.approx(min(1500 - 1200, 2 * fps), abs=1)


def test_videos_with_the_most_tracks_and_failures_are_chosen(tmp_path: Path) -> None:
    rows = []
    for number in range(15):
        own = walk(f"/{number:02d}.mp4", dict.fromkeys(range(1, number + 1), (0, 3)), num_frames=20)
        own[-1] = frame_row(f"/{number:02d}.mp4", 19, 19 / FPS, [])
        rows += own
    rows[0:18] = [failed_frame("/00.mp4", i, i / FPS) for i in range(18)]
    run = read_run(write_run(tmp_path / "run", rows, tracked=True), STORE)
    views, num_more = video_views(run, STORE, None)
    assert [view.name for view in views] == ["00.mp4", *(f"{i:02d}.mp4" for i in range(14, 3, -1))]
    assert num_more == 3
    assert "3 more videos are in the rows" in build_report(run.uri, store=STORE, pictures=False)


@pytest.mark.parametrize("rows_per_part", [1, 7, 1000])
def test_the_cut_into_parts_changes_nothing(tmp_path: Path, rows_per_part: int) -> None:
    rows = walk("/a.mp4", {1: (3, 30), 2: (5, 9)}) + walk("/b.mp4", {1: (0, 20)})
    rows[50] = failed_frame("/b.mp4", 10, 10 / FPS)
    whole = views_of(write_run(tmp_path / "whole", rows, tracked=True))
    cut = views_of(write_run(tmp_path / "cut", rows, tracked=True, rows_per_part=rows_per_part))
    assert cut == whole


@pytest.mark.parametrize("unknown", [None, math.nan])
def test_frames_without_times_are_told_by_their_number(tmp_path: Path, unknown: float | None) -> None:
    rows = [row | {"timestamp_s": unknown} for row in walk("/a.mp4", {1: (10, 20)})]
    (view,) = views_of(write_run(tmp_path / "run", rows, tracked=True))
    assert view.ticks[0][0] == "frame 0"
    assert view.ticks[-1][0] == "frame 39"
    assert "frame 10 to frame 20" in view.tracks[0].title
    assert view.tracks[0].start == pytest.approx(10 / 39)


def test_a_video_of_one_frame_and_values_that_are_no_numbers(tmp_path: Path) -> None:
    odd = seen(2, 1, box=(math.nan, 0.0, math.inf, 5.0)) | {"label": None}
    clip = save_clip(tmp_path / "in" / "a.mp4")
    rows = [frame_row(clip, 0, 0.0, [seen(1), odd])]
    run = write_run(tmp_path / "run", rows, tracked=True, source=str(tmp_path / "in"))
    (view,) = views_of(run)
    assert view.ticks == (("0.0 s", 0.0),)
    assert [bar.start for bar in view.tracks] == [0.0, 0.0]
    assert "data:image/jpeg" in build_report(run, store=STORE).split('class="strip"')[1]


def test_the_head_counts_images_videos_frames_and_tracks(tmp_path: Path) -> None:
    rows = [ok_row(save_picture(tmp_path / f"in/{i}.jpg"), []) for i in range(3)]
    rows += walk("/a.mp4", {1: (0, 9), 2: (0, 3)}) + walk("/b.mp4", {1: (0, 9)})
    page = build_report(write_run(tmp_path / "run", rows, tracked=True), store=STORE, pictures=False)
    found = dict(re.findall(r'class="name">([^<]+)</span><span class="value">([^<]+)<', page))
    wanted = {"Inputs": "83", "Images": "3", "Videos": "2", "Frames": "80", "Tracks": "3"}
    assert {name: found[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("has_images", "has_video", "noun"),
    [(True, False, "image"), (False, True, "frame"), (True, True, "input")],
)
def test_the_page_says_what_its_rows_are_of(
    tmp_path: Path, has_images: bool, has_video: bool, noun: str
) -> None:
    rows = [ok_row("/0.jpg", [detection(0, 0.5, BOX)])] if has_images else []
    rows += [frame_row("/a.mp4", 0, 0.0, [detection(0, 0.5, BOX)])] if has_video else []
    page = build_report(write_run(tmp_path / "run", rows), store=STORE, pictures=False)
    assert f">Detections per {noun}<" in page
    assert f">{noun.capitalize()} size<" in page
    assert f"A random choice among the {noun}s of each label." in page
    assert f"detections in {len(rows)} {noun}s" in page
    assert f'"noun":"{noun}"' in page
    assert "{nouns}" not in page


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.04, "0.0 s"), (-0.5, "-0.5 s"), (599.9, "599.9 s"), (605, "10:05"), (4205.4, "1:10:05")],
)
def test_moments_of_videos(seconds: float, expected: str) -> None:
    assert text.clock(seconds) == expected


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A track run of three clips: one with a bad name, one damaged, one that is gone by now."""
    folder = tmp_path_factory.mktemp("videos")
    hostile, hurt = save_clip(folder / "in" / HOSTILE), save_clip(folder / "in" / "hurt.mp4")
    gone = str(folder / "in" / "gone.mp4")
    rows = walk(hostile, {1: (0, 39), 2: (10, 25), 3: (30, 39)})
    for row in rows:
        for found in row["detections"]:
            found["label"] = HOSTILE if found["track_id"] == 2 else found["label"]
    damaged = walk(hurt, {1: (0, 39)})
    for row in damaged:
        row["detections"][0]["score"] = 0.97
    damaged[20:25] = [failed_frame(hurt, i, i / FPS) for i in range(20, 25)]
    run = write_run(
        folder / "run",
        rows + damaged + walk(gone, {1: (0, 9)}),
        tracked=True,
        source=str(folder / "in"),
    )
    return Path(write_report(run))


def test_the_section_in_a_browser(browser: Browser, report: Path) -> None:
    with quiet_page(browser, report) as page:
        sections = page.locator("section.video")
        assert sections.locator("h2").all_inner_texts() == ["hurt.mp4", HOSTILE, "gone.mp4"]
        hurt, hostile, gone = (sections.nth(i) for i in range(3))
        assert hostile.locator(".track-bar").count() == 3
        titles = hostile.locator(".track-bar title").all_text_contents()
        assert titles[1] == f"#2 {HOSTILE}: 0.4 s to 1.0 s, 16 detections, mean score 0.90"
        assert hostile.locator(".strip img").count() == 8
        assert hurt.locator(".strip img").count() == 7
        assert hurt.locator(".no-frame").all_inner_texts() == ["decode: corrupt"]
        assert hurt.locator(".failed title").count() == 5
        assert gone.locator(".strip").count() == 0
        expect(gone.locator(".none")).to_contain_text("No frame can be shown")
        loaded = "image => image.complete && image.naturalWidth === 128"
        assert page.evaluate(f"[...document.querySelectorAll('.strip img')].every({loaded})")
        assert page.locator("img:not(.strip img):not(.card img)").count() == 0


def test_a_bar_is_drawn_where_its_track_is(browser: Browser, report: Path) -> None:
    with quiet_page(browser, report) as page:
        section = page.locator("section.video").nth(1)
        whole = section.locator(".timeline svg").bounding_box()
        bar = section.locator(".track-bar rect").nth(1).bounding_box()
        assert whole is not None
        assert bar is not None
        assert (bar["x"] - whole["x"]) / whole["width"] == pytest.approx(10 / 39, abs=0.004)
        assert bar["width"] / whole["width"] == pytest.approx(15 / 39, abs=0.004)


def test_frames_in_the_gallery_say_which_they_are(browser: Browser, report: Path) -> None:
    with quiet_page(browser, report) as page:
        page.get_by_role("tab", name="Highest").click()
        card = page.locator(".card", has_text="hurt.mp4").first
        expect(card.locator(".card-line").first).to_contain_text(
            re.compile(r"hurt\.mp4\s*\d\.\d\d s · 0\.97")
        )
        assert card.locator("img").evaluate("image => image.naturalWidth") == 128
        page.get_by_role("tab", name="Sample").click()
        lost = page.locator(".card", has_text="gone.mp4").first
        expect(lost.locator(".blank")).to_contain_text("The picture cannot be shown")
        page.locator(".card", has_text="hurt.mp4").first.click()
        expect(page.locator("#lightbox-facts")).to_contain_text(re.compile(r"frame \d+ · \d\.\d{3} s"))


@pytest.mark.parametrize("width", [360, 1600])
def test_no_width_scrolls_sideways(browser: Browser, report: Path, width: int) -> None:
    with quiet_page(browser, report) as page:
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator(".strip img").count() == 15
