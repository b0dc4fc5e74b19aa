"""Video scenes: exact truth, tracks that last, and files that hold what was rendered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from cvcore.scenes.mot import write_video_scenes
from cvcore.scenes.parts import PART_NAMES
from cvcore.scenes.video import DEFAULT_VIDEO_SPEC, VideoSceneFrame, VideoSceneSpec, render_video_scene
from cvcore.track.mot_text import read_mot

SPEC = VideoSceneSpec(num_frames=40, fps=8.0, width=240, height=180)


@pytest.fixture(scope="module")
def frames() -> list[VideoSceneFrame]:
    return list(render_video_scene(7, SPEC))


def test_a_seed_gives_the_same_video_and_another_another(frames: list[VideoSceneFrame]) -> None:
    again = list(render_video_scene(7, replace(SPEC, num_frames=40)))
    other = next(render_video_scene(8, SPEC))
    for one, two in zip(frames, again, strict=True):
        assert np.array_equal(one.image, two.image)
        assert np.array_equal(one.boxes, two.boxes)
    assert not np.array_equal(frames[0].image, other.image)


def test_boxes_are_the_tight_bounds_of_what_is_seen(frames: list[VideoSceneFrame]) -> None:
    for frame in frames:
        assert set(np.unique(frame.track_map)) - {0} == set(frame.track_ids.tolist())
        for track_id, box in zip(frame.track_ids, frame.boxes, strict=True):
            rows, columns = np.nonzero(frame.track_map == track_id)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert ((frame.visibility > 0) & (frame.visibility <= 1)).all()
        assert (frame.visibility[frame.counts] >= SPEC.min_visible - 1e-9).all()


def test_parts_keep_their_ids_and_classes_and_ride_with_the_belt(frames: list[VideoSceneFrame]) -> None:
    labels: dict[int, int] = {}
    centres: dict[int, list[tuple[int, float, float]]] = {}
    for number, frame in enumerate(frames):
        for track_id, label, box, seen in zip(
            frame.track_ids.tolist(), frame.label_ids.tolist(), frame.boxes, frame.visibility, strict=True
        ):
            assert labels.setdefault(track_id, label) == label
            assert 0 <= label < len(PART_NAMES)
            if seen > 0.98:
                centres.setdefault(track_id, []).append((number, *((box[:2] + box[2:]) / 2).tolist()))
    assert len(labels) >= 5
    speeds = []
    for path in centres.values():
        (first, x0, y0), (last, x1, y1) = path[0], path[-1]
        if last - first >= 6:
            speeds.append(np.hypot(x1 - x0, y1 - y0) / (last - first))
    assert len(speeds) >= 3
    assert np.max(np.abs(np.array(speeds) - np.median(speeds))) < 0.5 * np.median(speeds)
    assert np.median(speeds) > 2, "the belt runs"


def test_parts_enter_leave_and_hide() -> None:
    frames = list(render_video_scene(900_001, replace(DEFAULT_VIDEO_SPEC, num_frames=90)))
    first, last = set(frames[0].track_ids.tolist()), set(frames[-1].track_ids.tolist())
    assert first - last, "some leave"
    assert last - first, "some enter"
    hidden = sum(int((~frame.counts).sum()) for frame in frames)
    assert hidden > 20, "some are covered, or cut by the picture's edge"


def test_files_hold_what_was_rendered(tmp_path: Path, frames: list[VideoSceneFrame]) -> None:
    write_video_scenes(tmp_path, num_videos=1, seed=7, spec=SPEC)
    rows = read_mot((tmp_path / "truth" / "line-7.txt").read_text())
    for number, frame in enumerate(frames, 1):
        here = rows.frames == number
        assert np.array_equal(rows.ids[here], frame.track_ids)
        np.testing.assert_allclose(rows.boxes[here], frame.boxes, atol=1e-9)
        assert np.array_equal(rows.considered[here], frame.counts)
    assert (tmp_path / "labels.txt").read_text().split() == list(PART_NAMES)
    with av.open(str(tmp_path / "videos" / "line-7.mp4")) as video:
        decoded = [picture.to_ndarray(format="rgb24") for picture in video.decode(video=0)]
        assert float(video.streams.video[0].average_rate) == SPEC.fps
    assert len(decoded) == len(frames)
    errors = [np.abs(d.astype(int) - f.image).mean() for d, f in zip(decoded, frames, strict=True)]
    assert max(errors) < 6, "what is recorded looks like what was rendered"


@pytest.mark.parametrize("wrong", [{"num_frames": 0}, {"width": 10}, {"bar": 0.9}, {"min_size": 0.4}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must|rise"):
        replace(SPEC, **wrong)  # type: ignore[arg-type]
