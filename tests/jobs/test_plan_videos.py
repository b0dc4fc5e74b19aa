"""Videos in the plan: which frames each unit owns, and what is said of videos that cannot be read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from cvcore.image.limits import DecodeLimits
from jobs.pinned import PinnedInputs, pin_segments
from jobs.plan import Plan, choose_frames_per_unit, select_inputs
from jobs.plan_videos import plan_videos
from jobs.spec import SourceSection, VideoSection
from jobs.storage import ObjectInfo, open_store

NUM_FRAMES = 100
FPS = 10


def write_clip(path: Path, num_frames: int = NUM_FRAMES) -> None:
    """A small H.264 clip, a keyframe every 20 frames, whose frames brighten."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.gop_size = 20
        stream.codec_context.options = {"sc_threshold": "0", "bf": "0"}
        for index in range(num_frames):
            pixels = np.full((48, 64, 3), index * 2 % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_clip(tmp_path / "b.mp4")
    write_clip(tmp_path / "d.mp4", 45)
    (tmp_path / "c.mp4").write_bytes(b"no film at all")
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "e.png").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    return tmp_path


def make_plan(folder: Path, *, per_unit: int, **video: object) -> Plan:
    store = open_store(str(folder))
    selection = select_inputs(store.walk(str(folder)), SourceSection(uri=str(folder)))
    segments = plan_videos(
        selection.videos,
        store,
        VideoSection.model_validate(video),
        limits=DecodeLimits(),
        frames_per_unit=lambda _: per_unit,
    )
    return Plan("job", pin_segments(selection.inputs, segments), 8, 1)


def frames_of(plan: Plan, name: str) -> list[tuple[int, float]]:
    """Index and time of a video's frames in the order of the units."""
    found = []
    for unit in range(plan.num_image_units, plan.num_units):
        start, count = plan.unit_rows(unit)
        assert count == 1
        (row,) = plan.inputs.rows([start]).to_pylist()
        if row["uri"].endswith(name) and row["pts"] is not None:
            assert plan.unit_size(unit) == len(row["pts"])
            times = [float(pts * Fraction(row["time_base"])) for pts in row["pts"]]
            found += zip(row["frame_indices"], times, strict=True)
    return found


@pytest.mark.parametrize("per_unit", [1, 7, 20, 256])
def test_each_frame_is_in_one_unit_whatever_the_cut(folder: Path, per_unit: int) -> None:
    plan = make_plan(folder, per_unit=per_unit)
    for name, count in (("b.mp4", NUM_FRAMES), ("d.mp4", 45)):
        frames = frames_of(plan, name)
        assert [index for index, _ in frames] == list(range(count))
        assert [second for _, second in frames] == pytest.approx([i / FPS for i in range(count)])
    assert plan.num_inputs == 2 + NUM_FRAMES + 45 + 1, "two images, the frames, and the row of the broken one"
    assert sum(plan.unit_size(unit) for unit in range(plan.num_units)) == plan.num_inputs
    videos = [Path(uri).name for uri, _ in plan.inputs.segment_videos()]
    assert videos == sorted(videos), "videos keep the order of their locations"


@pytest.mark.parametrize(
    ("video", "expected"),
    [
        ({"stride": 7}, list(range(0, NUM_FRAMES, 7))),
        ({"fps": 2}, list(range(0, NUM_FRAMES, 5))),
        ({"keyframes": True}, list(range(0, NUM_FRAMES, 20))),
    ],
)
def test_sampled_frames_are_those_asked_for(
    folder: Path, video: dict[str, object], expected: list[int]
) -> None:
    plan = make_plan(folder, per_unit=4, **video)
    assert [index for index, _ in frames_of(plan, "b.mp4")] == expected


def test_a_video_that_cannot_be_read_is_a_row_that_says_why(folder: Path) -> None:
    plan = make_plan(folder, per_unit=50)
    (broken,) = [
        row
        for row in plan.inputs.rows(range(plan.inputs.num_images, plan.inputs.num_rows)).to_pylist()
        if row["error_code"] is not None
    ]
    assert broken["uri"].endswith("c.mp4")
    assert broken["error_code"] == "not_a_video"
    assert broken["pts"] is None


def test_the_plan_survives_being_stored(folder: Path) -> None:
    inputs = make_plan(folder, per_unit=10).inputs
    again = PinnedInputs.from_parquet(inputs.parquet.to_pybytes())
    assert again == inputs
    rows = range(inputs.num_rows)
    assert again.rows(rows).equals(inputs.rows(rows))
    assert again.rows([3, 0]).to_pylist() == [
        inputs.rows([3]).to_pylist()[0],
        inputs.rows([0]).to_pylist()[0],
    ]
    assert (again.num_images, again.num_results) == (2, inputs.num_results)
    assert again.digest != make_plan(folder, per_unit=11).inputs.digest, "the cut belongs to the plan"


def test_media_chooses_images_or_videos(folder: Path) -> None:
    listed = list(open_store(str(folder)).walk(str(folder)))
    images = select_inputs(listed, SourceSection(uri=str(folder), media="images"))
    videos = select_inputs(listed, SourceSection(uri=str(folder), media="videos"))
    assert (images.inputs.num_rows, len(images.videos)) == (2, 0)
    assert (videos.inputs.num_rows, len(videos.videos)) == (0, 3)
    assert images.skipped == {".mp4": 3, ".txt": 1}
    assert videos.skipped == {".jpg": 1, ".png": 1, ".txt": 1}


def test_a_long_video_takes_little_of_a_plan() -> None:
    frames = np.arange(216_000)

    def segments() -> Iterator[object]:
        from jobs.pinned import PinnedSegment

        for start in range(0, len(frames), 256):
            part = frames[start : start + 256]
            video = ObjectInfo("s3://fleet/film.mp4", "e" * 32, 10**9)
            yield PinnedSegment(video, 0, "1/12800", part.tolist(), (part * 427).tolist())

    empty = select_inputs([], SourceSection(uri="/in")).inputs
    inputs = pin_segments(empty, segments())  # type: ignore[arg-type]
    assert inputs.num_results == len(frames)
    assert inputs.parquet.size < len(frames), "less than a byte a frame"
    assert pin_read_back(inputs) == frames.tolist()


def pin_read_back(inputs: PinnedInputs) -> list[int]:
    rows = PinnedInputs.from_parquet(io.BytesIO(inputs.parquet.to_pybytes()).read()).rows(
        range(inputs.num_rows)
    )
    return [index for part in rows.column("frame_indices").to_pylist() for index in part]


@pytest.mark.parametrize("num_frames", [1, 31, 500, 5_000, 216_000])
@pytest.mark.parametrize("canvas_bytes", [320 * 320 * 3, 1024 * 1024 * 3])
def test_segments_keep_their_bounds(num_frames: int, canvas_bytes: int) -> None:
    per_unit = choose_frames_per_unit(num_frames, canvas_bytes)
    assert 1 <= per_unit <= 256
    assert per_unit * canvas_bytes <= 128 * 2**20
    if num_frames >= 1_000:
        assert num_frames / per_unit >= 15, "a long video is worked on by many"
