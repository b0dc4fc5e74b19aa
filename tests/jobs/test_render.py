"""Rendered videos show the run's frames, with what was found in them."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pytest

from cvcore.draw import track_color
from cvcore.errors import SpecError
from jobs.mot import import_mot
from jobs.render import render_video
from jobs.run_folder import RunFolder
from jobs.sink import decode_part, encode_part
from jobs.storage import Access
from tests.cvcore.video.clips import HEIGHT, WIDTH, make_clip

NUM_FRAMES = 24
ACCESS = Access()


def make_run(folder: Path, *, names: tuple[str, ...] = ("a.mp4",), stride: int = 1) -> Path:
    """An imported run whose rows are turned into those of clips."""
    (folder / "text").mkdir()
    for name in names:
        (folder / name).write_bytes(make_clip("h264", "mp4", num_frames=NUM_FRAMES))
        lines = [f"{f},{7},{10 + 2 * f},30,20,25,0.9" for f in range(1, NUM_FRAMES + 1)]
        (folder / "text" / f"{Path(name).stem}.txt").write_text("\n".join(lines))
    run = folder / "run"
    import_mot(str(folder / "text"), out=str(run), fps=10, access=ACCESS)
    for part in sorted(Path(RunFolder(str(run)).data).iterdir()):
        rows = decode_part(part.read_bytes())
        stem = Path(rows.column("uri")[0].as_py()).stem
        video = folder / f"{stem}.mp4"
        stat = video.stat()
        etag = f"{stat.st_size:x}-{stat.st_mtime_ns:x}"
        for column, value in (("uri", str(video)), ("etag", etag)):
            at = rows.schema.get_field_index(column)
            rows = rows.set_column(at, rows.schema.field(at), pa.array([value] * rows.num_rows))
        rows = rows.take(list(range(0, rows.num_rows, stride)))
        part.write_bytes(encode_part(rows, {}))
    return run


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as video:
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]


def near(pixel: np.ndarray, color: tuple[int, int, int]) -> bool:
    return int(np.abs(pixel.astype(int) - color).max()) < 90


def test_each_frame_shows_its_box_in_the_track_s_colour(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    done = render_video(str(run), video="a.mp4", out=str(tmp_path / "out.mp4"), access=ACCESS)
    frames = frames_of(tmp_path / "out.mp4")
    assert done.num_frames == len(frames) == NUM_FRAMES
    assert frames[0].shape == (HEIGHT, WIDTH, 3)
    color = track_color(7)
    hits = [
        near(frame[42:50, 10 + 2 * f : 14 + 2 * f].mean(axis=(0, 1)), color)
        or near(frame[55, 22 + 2 * f], color)
        for f, frame in enumerate(frames, 1)
    ]
    assert sum(hits) > NUM_FRAMES * 0.7
    late = frames[-1]
    trail = sum(near(late[42, x], color) or near(late[43, x], color) for x in range(30, 60))
    assert trail > 10, "where the track came from"


def test_a_sampled_run_gives_its_frames_at_their_times(tmp_path: Path) -> None:
    run = make_run(tmp_path, stride=4)
    render_video(str(run), video="a.mp4", out=str(tmp_path / "out.mp4"), access=ACCESS)
    with av.open(str(tmp_path / "out.mp4")) as video:
        times = [frame.time for frame in video.decode(video=0)]
    assert len(times) == NUM_FRAMES // 4
    assert np.all(np.diff(times) > 0)


def test_names_that_fit_no_video_or_several_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path, names=("a.mp4", "ba.mp4"))
    out = str(tmp_path / "out.mp4")
    with pytest.raises(SpecError, match=r"several videos end with 'a.mp4': name one of .*a.mp4, .*ba.mp4"):
        render_video(str(run), video="a.mp4", out=out, access=ACCESS)
    with pytest.raises(SpecError, match=r"no video of the run ends with 'c.mp4'"):
        render_video(str(run), video="c.mp4", out=out, access=ACCESS)
    with pytest.raises(SpecError, match=r"ends with .mp4"):
        render_video(str(run), video="/a.mp4", out=str(tmp_path / "out.gif"), access=ACCESS)
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
