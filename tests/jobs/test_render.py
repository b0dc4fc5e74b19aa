"""Rendered videos show the run's frames, with what was found in them."""

from __future__ import annotations

import io
import json
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cvcore.draw import track_color
from cvcore.errors import SpecError
from cvcore.video.decode import open_frames
from jobs.render import pair_frames, render_video
from jobs.report.colors import label_color, parse_color
from jobs.report.run import read_decoding, read_run
from jobs.run_folder import RunFolder
from jobs.storage import Access, ObjectChanged, ObjectMissing
from jobs.storage.local import LocalStore
from tests.cvcore.video.clips import make_clip
from tests.jobs.report.fabricate import detection, failed_frame, frame_row, save_clip, write_run

NUM_FRAMES = 24
WIDTH, HEIGHT = 640, 480
ACCESS = Access()
CAR = 2


def make_run(
    folder: Path,
    *,
    names: tuple[str, ...] = ("a.mp4",),
    stride: int = 1,
    tracked: bool = True,
    num_lost: int = 0,
) -> Path:
    """A box of 120 x 100 pixels that moves right by 8 a frame; at the end `num_lost` frames that failed."""
    rows = []
    for name in names:
        uri = save_clip(folder / name, num_frames=NUM_FRAMES, size=(WIDTH, HEIGHT))
        for frame in range(0, NUM_FRAMES, stride):
            left = 100 + 8 * frame
            more = {"track_id": 7} if tracked else {}
            found = [detection(CAR, 0.9, (left, 200, left + 120, 300), **more)]
            rows.append(frame_row(uri, frame, frame / 25, found, width=WIDTH, height=HEIGHT))
        lost = range(NUM_FRAMES, NUM_FRAMES + num_lost)
        rows += [failed_frame(uri, frame, frame / 25) for frame in lost]
    return Path(write_run(folder / "run", rows, rows_per_part=10, source=str(folder), tracked=tracked))


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as video:
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]


def is_near(pixels: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Which of (N, 3) pixels have about a colour: encoding changes them a little."""
    return np.abs(pixels.astype(int) - color).max(axis=-1) < 64


@pytest.mark.parametrize(
    ("tracked", "color"),
    [(True, track_color(7)), (False, parse_color(label_color(CAR)))],
    ids=["a track's", "a label's"],
)
def test_each_frame_shows_its_box_in_its_colour(
    tmp_path: Path, tracked: bool, color: tuple[int, int, int]
) -> None:
    run = make_run(tmp_path, tracked=tracked)
    done = render_video(str(run), video="a.mp4", out=str(tmp_path / "out.mp4"), access=ACCESS)
    frames, plain = frames_of(tmp_path / "out.mp4"), frames_of(tmp_path / "a.mp4")
    assert done.num_frames == len(frames) == NUM_FRAMES
    assert frames[0].shape == (HEIGHT, WIDTH, 3)
    shares = []
    for number, frame in enumerate(frames):
        left = 100 + 8 * number
        lower, right = frame[299:301, left + 10 : left + 110], frame[210:290, left + 119 : left + 121]
        shares.append((is_near(lower, color).any(axis=0).mean(), is_near(right, color).any(axis=1).mean()))
        below = frame[310:].astype(int) - plain[number][310:]
        assert np.abs(below).mean() < 6, "nothing is drawn below the box"
    assert np.mean(shares, axis=0).min() > 0.5, "the box's edges, as far as encoding keeps them"
    changed = np.abs(frames[-1].astype(int) - plain[-1])[248:253, 290:340].max(axis=(0, 2)) > 50
    assert changed.mean() > 0.9 if tracked else changed[:-20].mean() < 0.1, "where the track came from"


def test_trails_last_as_long_as_is_asked_for(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    lengths = []
    for name, trail_s in (("none", 0.0), ("short", 0.3), ("long", 9.0)):
        out = tmp_path / f"{name}.mp4"
        render_video(str(run), video="a.mp4", out=str(out), access=ACCESS, trail_s=trail_s)
        middle = frames_of(out)[-1][248:253, :345].astype(int)
        lengths.append(int(is_near(middle, track_color(7)).any(axis=0).sum()))
    assert lengths[0] < lengths[1] < lengths[2]


def test_lost_frames_are_named_over_the_last_picture(tmp_path: Path) -> None:
    run = make_run(tmp_path, num_lost=3)
    done = render_video(str(run), video="a.mp4", out=str(tmp_path / "out.mp4"), access=ACCESS)
    frames = frames_of(tmp_path / "out.mp4")
    assert done.num_frames == len(frames) == NUM_FRAMES + 3
    for frame in frames[-3:]:
        assert is_near(frame[200:280, :3], (200, 30, 30)).any(axis=1).mean() > 0.8, "a red frame"
        assert frame[350:].mean() < frames[NUM_FRAMES - 1][350:].mean() / 2
    assert not is_near(frames[NUM_FRAMES - 1][200:280, :3], (200, 30, 30)).any()


def test_rows_find_their_frames_and_lost_ones_find_none() -> None:
    pictures = {index: np.full((1, 1, 3), index, np.uint8) for index in (2, 3, 5, 6, 9)}
    rows = [{"frame_index": index} for index in (0, 2, 4, 6, 8, 10)]
    paired = pair_frames(rows, ((index, index / 25, picture) for index, picture in pictures.items()))
    assert [(row["frame_index"], picture is not None and picture[0, 0, 0]) for row, picture in paired] == [
        (0, False),
        (2, 2),
        (4, False),
        (6, 6),
        (8, False),
        (10, False),
    ]


def test_a_tracked_run_decodes_as_its_detections_did(tmp_path: Path) -> None:
    spec = {"video": {"stream": 3}, "limits": {"max_pixels": 77}, "storage": {"region": "eu-1"}}
    tracks, found = tmp_path / "tracks", tmp_path / "found"
    make_run(tmp_path).rename(tracks)
    for folder, content in ((tracks, {"detections": str(found), "video": {}}), (found, spec)):
        record = json.loads((tracks / "_veedor" / "job.json").read_text()) | {"spec": content}
        LocalStore().put(RunFolder(str(folder)).job, json.dumps(record).encode())
    how = read_decoding(read_run(str(tracks), LocalStore()), Access())
    assert (how.stream, how.limits.max_pixels, how.access.region) == (3, 77, "eu-1")
    shutil.rmtree(found)
    assert read_decoding(read_run(str(tracks), LocalStore()), Access()).stream is None


def test_a_sampled_run_gives_its_frames_at_their_times(tmp_path: Path) -> None:
    run = make_run(tmp_path, stride=4)
    render_video(str(run), video="a.mp4", out=str(tmp_path / "out.mp4"), access=ACCESS)
    with av.open(str(tmp_path / "out.mp4")) as video:
        times = [frame.time for frame in video.decode(video=0)]
    assert times == pytest.approx([frame / 25 for frame in range(0, NUM_FRAMES, 4)], abs=1e-3)


def test_sampled_frames_are_drawn_into_their_own_pictures(tmp_path: Path) -> None:
    run = make_run(tmp_path, stride=4)
    render_video(str(run), video="a.mp4", out=str(tmp_path / "out.mp4"), access=ACCESS)
    plain = np.stack([frame[330:430:5, ::5] for frame in frames_of(tmp_path / "a.mp4")]).astype(int)
    for number, frame in enumerate(frames_of(tmp_path / "out.mp4")):
        distances = np.abs(plain - frame[330:430:5, ::5]).mean(axis=(1, 2, 3))
        assert int(distances.argmin()) == 4 * number


def test_frames_lost_before_the_first_are_shown_too(tmp_path: Path) -> None:
    uri = save_clip(tmp_path / "a.mp4", num_frames=NUM_FRAMES, size=(WIDTH, HEIGHT))
    frames = list(open_frames(io.BytesIO(Path(uri).read_bytes())))
    rows = [failed_frame(uri, i, i / 25) if i < 3 else frame_row(uri, i, i / 25, []) for i, _, _ in frames]
    run = write_run(tmp_path / "run", rows, tracked=True)
    done = render_video(run, video="a.mp4", out=str(tmp_path / "out.mp4"), access=ACCESS)
    red = [
        bool(is_near(frame[200:280, :3], (200, 30, 30)).any(axis=1).mean() > 0.8)
        for frame in frames_of(tmp_path / "out.mp4")
    ]
    assert done.num_frames == NUM_FRAMES
    assert red == [True] * 3 + [False] * (NUM_FRAMES - 3)


def test_times_below_zero_are_moved_to_it(tmp_path: Path) -> None:
    """An MPEG transport stream counts 33 bits of ticks: after 26 hours its times begin anew."""
    clip = tmp_path / "a.ts"
    ticks = [2**33 - 30_000 + 3_600 * i for i in range(NUM_FRAMES)]
    clip.write_bytes(make_clip("h264", "ts", num_frames=NUM_FRAMES, pts=ticks, time_base=Fraction(1, 90_000)))
    frames = [(index, second) for index, second, _ in open_frames(io.BytesIO(clip.read_bytes()))]
    assert frames[0][1] < 0, "what is tested"
    rows = [frame_row(str(clip), index, second, []) for index, second in frames]
    run = write_run(tmp_path / "run", rows, tracked=True)
    render_video(run, video="a.ts", out=str(tmp_path / "out.mp4"), access=ACCESS)
    with av.open(str(tmp_path / "out.mp4")) as video:
        times = [frame.time for frame in video.decode(video=0)]
    assert times == pytest.approx([second - frames[0][1] for _, second in frames], abs=1e-3)


def test_a_video_that_is_not_what_it_was_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    out = tmp_path / "out.mp4"
    (tmp_path / "a.mp4").write_bytes(make_clip("h264", "mp4", num_frames=3))
    with pytest.raises(ObjectChanged):
        render_video(str(run), video="a.mp4", out=str(out), access=ACCESS)
    (tmp_path / "a.mp4").unlink()
    with pytest.raises(ObjectMissing):
        render_video(str(run), video="a.mp4", out=str(out), access=ACCESS)
    assert not out.exists()


def test_names_that_fit_no_video_or_several_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path, names=("a.mp4", "ba.mp4"))
    out = str(tmp_path / "out.mp4")
    with pytest.raises(SpecError, match=r"several videos end with 'a.mp4': name one of .*a.mp4, .*ba.mp4"):
        render_video(str(run), video="a.mp4", out=out, access=ACCESS)
    with pytest.raises(SpecError, match=r"no video of the run ends with 'c.mp4'"):
        render_video(str(run), video="c.mp4", out=out, access=ACCESS)
    with pytest.raises(SpecError, match=r"ends with .mp4"):
        render_video(str(run), video="/a.mp4", out=str(tmp_path / "out.gif"), access=ACCESS)
    with pytest.raises(SpecError, match=r"is the video itself"):
        render_video(str(run), video="/a.mp4", out=str(tmp_path / "a.mp4"), access=ACCESS, overwrite=True)
    assert render_video(str(run), video="/a.mp4", out=out, access=ACCESS).num_frames == NUM_FRAMES


def test_what_stands_is_replaced_only_when_asked(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    out = tmp_path / "out.mp4"
    out.write_bytes(b"mine")
    with pytest.raises(SpecError, match="stands already"):
        render_video(str(run), video="a.mp4", out=str(out), access=ACCESS)
    assert out.read_bytes() == b"mine"
    render_video(str(run), video="a.mp4", out=str(out), access=ACCESS, overwrite=True)
    assert len(frames_of(out)) == NUM_FRAMES
