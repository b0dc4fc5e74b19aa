"""Segments partition the sampled frames, start at keyframes where they can, and bound what is decoded."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from cvcore.video.segments import MAX_DECODED_FRAMES, Segment, cut_segments
from tests.cvcore.video.test_sample import scan_of


def lengths(segments: list[Segment]) -> list[int]:
    return [len(segment) for segment in segments]


@pytest.mark.parametrize("seed", range(60))
def test_any_cut_is_a_partition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num_frames = int(rng.integers(1, 4000))
    pts = np.cumsum(rng.integers(1, 50, num_frames)) - 300
    keyframes = [0, *np.flatnonzero(rng.random(num_frames) < rng.choice([0.001, 0.02, 0.5]))]
    scan = scan_of(pts.tolist(), keyframes=keyframes[int(rng.integers(2)) :])
    indices = np.flatnonzero(rng.random(num_frames) < rng.choice([0.01, 0.3, 1.0]))
    max_frames = int(rng.integers(1, 300))
    segments = cut_segments(scan, indices, max_frames=max_frames)
    joined = [index for segment in segments for index in segment.frame_indices.tolist()]
    assert joined == indices.tolist()
    assert [time for segment in segments for time in segment.pts.tolist()] == scan.pts[indices].tolist()
    assert all(1 <= length <= max_frames for length in lengths(segments))
    _assert_cut_inside_groups_only_where_needed(scan.keyframes, indices, segments, max_frames)


def _assert_cut_inside_groups_only_where_needed(
    keyframes: np.ndarray, indices: np.ndarray, segments: list[Segment], max_frames: int
) -> None:
    groups = np.cumsum(keyframes)
    for before, after in pairwise(segments):
        group = groups[after.frame_indices[0]]
        if groups[before.frame_indices[-1]] == group:
            assert np.count_nonzero(groups[indices] == group) > max_frames


@pytest.mark.parametrize(
    ("keyframes", "max_frames", "expected"),
    [
        (range(0, 100, 10), 30, [30, 30, 30, 10]),
        (range(0, 100, 10), 35, [30, 30, 30, 10]),
        (range(0, 100, 10), 1000, [100]),
        ([0], 30, [30, 30, 30, 10]),
        ([0, 70], 30, [30, 30, 10, 30]),
        ([], 60, [60, 40]),
        (range(100), 1, [1] * 100),
    ],
)
def test_cuts(keyframes: range | list[int], max_frames: int, expected: list[int]) -> None:
    scan = scan_of(list(range(100)), keyframes=list(keyframes))
    assert lengths(cut_segments(scan, np.arange(100), max_frames=max_frames)) == expected


def test_sparse_samples_still_make_several_segments() -> None:
    num_frames = 10 * MAX_DECODED_FRAMES
    scan = scan_of(list(range(num_frames)), keyframes=list(range(0, num_frames, 250)))
    segments = cut_segments(scan, np.arange(0, num_frames, 500), max_frames=256)
    assert len(segments) >= 10
    for segment in segments:
        first, last = int(segment.frame_indices[0]), int(segment.frame_indices[-1])
        assert last - first // 250 * 250 < MAX_DECODED_FRAMES


def test_a_group_longer_than_the_bound_is_not_cut_for_it() -> None:
    """Its second half would be decoded through the first one anyway."""
    scan = scan_of(list(range(3 * MAX_DECODED_FRAMES)))
    assert len(cut_segments(scan, np.arange(0, 3 * MAX_DECODED_FRAMES, 100), max_frames=256)) == 1


def test_nothing_sampled_is_no_segment() -> None:
    assert cut_segments(scan_of([0, 1]), np.zeros(0, np.int64), max_frames=4) == []


@pytest.mark.parametrize(("indices", "max_frames"), [([0, 0], 1), ([1, 0], 1), ([-1], 1), ([2], 1), ([0], 0)])
def test_what_does_not_fit_is_refused(indices: list[int], max_frames: int) -> None:
    with pytest.raises(ValueError, match="must"):
        cut_segments(scan_of([0, 1]), np.array(indices), max_frames=max_frames)
