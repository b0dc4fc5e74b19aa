"""Frames are sampled by their times, exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

from cvcore.video.sample import Sampling, sample_frames
from cvcore.video.scan import VideoScan


def scan_of(
    pts: list[int], *, time_base: Fraction = Fraction(1, 1000), keyframes: Sequence[int] = (0,)
) -> VideoScan:
    flags = np.isin(np.arange(len(pts)), keyframes)
    return VideoScan(64, 48, time_base, np.array(pts, np.int64), flags, 0, "h264")


def by_definition(scan: VideoScan, fps: float) -> list[int]:
    """For each instant k/fps from the first frame's time on, the first frame at or after it."""
    times = [(int(time) - int(scan.pts[0])) * scan.time_base for time in scan.pts]
    rate, taken, k = Fraction(str(fps)), [], 0
    while k / rate <= times[-1]:
        index = next(i for i, time in enumerate(times) if time >= k / rate)
        taken += [index] if index not in taken else []
        k += 1
    return taken


@pytest.mark.parametrize(
    ("fps", "expected"),
    [(1, [0, 25, 50, 75]), (25, list(range(100))), (60, list(range(100))), (12.5, list(range(0, 100, 2)))],
)
def test_constant_rate(fps: float, expected: list[int]) -> None:
    scan = scan_of([40 * i for i in range(100)])
    assert sample_frames(scan, Sampling("fps", fps=fps)).tolist() == expected


@pytest.mark.parametrize("seed", range(30))
def test_variable_rates_follow_the_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gaps = rng.choice([1, 7, 33, 34, 500, 4000], size=60)
    scan = scan_of((int(rng.integers(-5000, 5000)) + np.cumsum(gaps)).tolist())
    fps = float(rng.choice([0.1, 1, 2.5, 29.97, 30, 1000]))
    assert sample_frames(scan, Sampling("fps", fps=fps)).tolist() == by_definition(scan, fps)


def test_instants_are_exact_over_a_day() -> None:
    """Frames that lie exactly on instants a third of a second apart are all taken."""
    scan = scan_of([10_000 * i for i in range(3 * 86_400)], time_base=Fraction(1, 30_000))
    assert len(sample_frames(scan, Sampling("fps", fps=3))) == len(scan)


def test_times_whose_product_leaves_64_bits() -> None:
    second = 10**15
    scan = scan_of([0, second // 2, second, 4000 * second + 7], time_base=Fraction(1, second))
    fps = 1.0000000001
    assert sample_frames(scan, Sampling("fps", fps=fps)).tolist() == [0, 2, 3]
    assert by_definition(scan, fps) == [0, 2, 3]


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(), list(range(10))),
        (Sampling("stride", stride=4), [0, 4, 8]),
        (Sampling("stride", stride=100), [0]),
        (Sampling("keyframes"), [0, 3, 9]),
    ],
)
def test_other_modes(sampling: Sampling, expected: list[int]) -> None:
    assert sample_frames(scan_of(list(range(10)), keyframes=[0, 3, 9]), sampling).tolist() == expected


@pytest.mark.parametrize("mode", ["all", "keyframes"])
def test_a_video_without_frames_gives_none(mode: str) -> None:
    assert sample_frames(scan_of([]), Sampling(mode)).tolist() == []  # type: ignore[arg-type]
    assert sample_frames(scan_of([]), Sampling("fps", fps=1)).tolist() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "some"},
        {"mode": "fps"},
        {"mode": "all", "fps": 2.0},
        {"mode": "stride", "fps": 2.0},
        {"mode": "stride", "stride": 0},
        {"mode": "fps", "fps": 0.0},
        {"mode": "fps", "fps": -1.0},
        {"mode": "fps", "fps": math.nan},
        {"mode": "fps", "fps": math.inf},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="got"):
        Sampling(**wrong)  # type: ignore[arg-type]
