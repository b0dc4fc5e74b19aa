"""The page's section on videos, with a run that was detected, tracked and reported as a user does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser

from jobs.annotate import run_annotate
from jobs.mot import import_mot
from jobs.progress import SilentListener
from jobs.report.build import write_report
from jobs.spec import build_spec, validate_spec
from jobs.storage import Access
from jobs.track import run_track
from jobs.track_spec import TrackSpec
from tests.browsers import open_browser, quiet_page
from tests.corpus import toy_model
from tests.cvcore.video.clips import make_clip

HOSTILE = "<img src=x onerror=document.title='owned'>.mp4"
NUM_FRAMES = 40


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:
    """Detections and tracks of three clips: one whole, one with a bad name, one damaged in the middle."""
    del ray_cluster
    folder = tmp_path_factory.mktemp("videos")
    (folder / "in").mkdir()
    whole = make_clip("h264", "mp4", num_frames=NUM_FRAMES)
    (folder / "in" / "a.mp4").write_bytes(whole)
    (folder / "in" / HOSTILE).write_bytes(whole)
    middle = len(whole) // 2
    (folder / "in" / "hurt.mp4").write_bytes(whole[:middle] + bytes(400) + whole[middle + 400 :])
    content = {
        "source": {"uri": str(folder / "in")},
        "model": toy_model(folder / "toy"),
        "annotate": {"min_score": 0.0, "max_detections": 4},
        "resources": {"batch_size": 4},
    }
    detected = build_spec(content | {"sink": {"uri": str(folder / "found")}}, name="test")
    run_annotate(detected, listener=SilentListener())
    section = {"bytetrack": {"low_score": 0.0, "high_score": 0.1, "new_track_score": 0.1}}
    tracked = {"detections": str(folder / "found"), "track": section, "sink": {"uri": str(folder / "tracks")}}
    run_track(validate_spec(tracked, TrackSpec, name="test"), listener=SilentListener())
    return folder


def test_each_video_has_its_strip_counts_and_tracks(folder: Path, browser: Browser) -> None:
    report = Path(write_report(str(folder / "tracks")))
    tracks = pq.read_table(folder / "tracks" / "tracks.parquet").to_pylist()
    with quiet_page(browser, report) as page:
        sections = page.locator("section.video")
        names = sections.locator("h2").all_inner_texts()
        assert sorted(names) == [HOSTILE, "a.mp4", "hurt.mp4"]
        for name in (HOSTILE, "a.mp4"):
            section = sections.nth(names.index(name))
            own = [t for t in tracks if t["uri"].endswith(f"/{name}")]
            assert section.locator(".track-bar").count() == min(60, len(own)) > 0
            titles = section.locator(".track-bar title").all_text_contents()
            assert all(re.match(r"#\d+ \w+: \d", title) for title in titles)
            assert section.locator(".strip img").count() == 8
            assert section.locator(".count-line").count() >= 1
            assert section.locator(".failed").count() == 0
        hurt = sections.nth(names.index("hurt.mp4"))
        assert hurt.locator(".failed").count() > 0
        assert "decode, " in (hurt.locator(".failed title").first.text_content() or "")
        assert hurt.locator(".no-frame, .strip img").count() == 8
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        assert page.get_by_text("Videos", exact=True).count() == 1


def test_frames_of_an_annotate_run_are_in_its_gallery(folder: Path, browser: Browser) -> None:
    report = Path(write_report(str(folder / "found")))
    with quiet_page(browser, report) as page:
        assert page.locator("section.video").count() == 3
        assert page.locator(".track-bar").count() == 0, "there are no tracks yet"
        page.get_by_role("tab", name="Highest").click()
        assert page.locator(".card img").count() > 0
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


def test_the_same_run_gives_the_same_page(folder: Path) -> None:
    one = Path(write_report(str(folder / "tracks"), out_uri=str(folder / "one.html"))).read_bytes()
    two = Path(write_report(str(folder / "tracks"), out_uri=str(folder / "two.html"))).read_bytes()
    assert one == two


@pytest.mark.parametrize(("fps", "end"), [(10.0, "2.9 s"), (None, "frame 29")])
def test_an_imported_run_has_counts_and_tracks_but_no_pictures(
    tmp_path: Path, fps: float | None, end: str
) -> None:
    (tmp_path / "walk.txt").write_text("".join(f"{f},3,{f},5,20,30,0.9\n" for f in range(1, 31)))
    import_mot(str(tmp_path / "walk.txt"), out=str(tmp_path / "run"), fps=fps, access=Access())
    page = Path(write_report(str(tmp_path / "run"))).read_text()
    assert page.count('class="count-line"') == 1
    assert page.count('class="track-bar"') == 1
    assert f"to {end}, 30 detections, mean score 0.90" in page
    assert 'class="strip"' not in page
    assert "data:image" not in page
