"""What a track amounts to, and the boxes between two."""

from __future__ import annotations

import numpy as np
import pytest

from cvcore.track.interpolate import interpolate_gap
from cvcore.track.summary import MAX_PATH_POINTS, TrackBook


def test_tracks_are_added_up() -> None:
    book = TrackBook()
    boxes = np.array([[0.0, 0.0, 10.0, 20.0], [50.0, 0.0, 60.0, 10.0]])
    book.add(3, 0.3, boxes, np.array([2, -1]), np.array([7, 7]), np.array([0.5, 0.9]))
    book.add(5, 0.5, boxes + 4, np.array([2, 1]), np.array([1, 0]), np.array([0.9, 0.4]))
    one, two = book.finish()
    assert (one.track_id, one.label_id, one.first_frame, one.last_frame, one.length) == (1, 0, 5, 5, 1)
    assert (two.track_id, two.label_id, two.first_frame, two.last_frame, two.length) == (2, 1, 3, 5, 2)
    assert (two.first_s, two.last_s) == (0.3, 0.5)
    assert two.mean_score == pytest.approx(0.7)
    assert two.path == ((3, 5.0, 10.0), (5, 9.0, 14.0))


@pytest.mark.parametrize("length", [1, 63, 64, 65, 128, 129, 1000, 100_000])
def test_paths_are_bounded_and_even(length: int) -> None:
    book = TrackBook()
    for frame in range(length):
        box = np.array([[frame, 0.0, frame + 2.0, 2.0]])
        book.add(frame, None, box, np.array([1]), np.array([0]), np.array([1.0]))
    (track,) = book.finish()
    frames = [frame for frame, _, _ in track.path]
    assert frames[0] == 0
    assert min(length, MAX_PATH_POINTS // 2) <= len(frames) <= MAX_PATH_POINTS
    assert len(set(np.diff(frames).tolist())) <= 1, "points are equally far apart"
    assert frames[-1] >= length - 2 * max(1, length // len(frames))
    assert track.length == length
    assert track.first_s is None


def test_gaps_are_filled_evenly() -> None:
    before, after = np.array([0.0, 0.0, 10.0, 10.0]), np.array([8.0, 4.0, 22.0, 18.0])
    frames, boxes = interpolate_gap(10, before, 14, after)
    assert frames.tolist() == [11, 12, 13]
    np.testing.assert_allclose(boxes, [before + (after - before) * k / 4 for k in (1, 2, 3)])
    frames, boxes = interpolate_gap(10, before, 11, after)
    assert (len(frames), boxes.shape) == (0, (0, 4))
    with pytest.raises(ValueError, match="ends after"):
        interpolate_gap(5, before, 5, after)
