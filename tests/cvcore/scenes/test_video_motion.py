"""How parts move in a video scene: along the belt, at its speed, under the crossbar and out again."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from cvcore.scenes.geometry import project, similarity
from cvcore.scenes.motion import NUDGE_S, Ride, random_path
from cvcore.scenes.video import VideoSceneFrame, VideoSceneSpec, render_video_scene

STEADY = VideoSceneSpec(
    num_frames=48,
    width=240,
    height=180,
    min_crossing_s=3.0,
    max_crossing_s=3.0,
    parts_in_view=6.0,
    clutter_in_view=0.0,
    moving=0.0,
    bar=0.0,
    shake_px=0.0,
    drift_px=0.0,
    tilt=0.0,
)
"""A camera that stands still above parts that lie still on the belt."""

SEEDS = (0, 1, 2)


def follow(frames: list[VideoSceneFrame]) -> dict[int, dict[int, tuple[float, float, float]]]:
    """For each track id, at each frame in which it is seen: its box's centre and its visibility."""
    paths: dict[int, dict[int, tuple[float, float, float]]] = {}
    for index, frame in enumerate(frames):
        for track_id, box, seen in zip(frame.track_ids.tolist(), frame.boxes, frame.visibility, strict=True):
            x, y = ((box[:2] + box[2:]) / 2).tolist()
            paths.setdefault(track_id, {})[index] = (x, y, float(seen))
    return paths


@pytest.fixture(scope="module", params=SEEDS)
def steady(request: pytest.FixtureRequest) -> list[VideoSceneFrame]:
    return list(render_video_scene(request.param, STEADY))


def test_still_parts_move_by_one_picture_each_crossing(steady: list[VideoSceneFrame]) -> None:
    steps = []
    for path in follow(steady).values():
        whole = [index for index, (_, _, seen) in path.items() if seen > 0.995]
        if len(whole) >= 6:
            (x0, y0, _), (x1, y1, _) = path[whole[0]], path[whole[-1]]
            steps.append(((x1 - x0) / (whole[-1] - whole[0]), (y1 - y0) / (whole[-1] - whole[0])))
    velocity = np.array(steps)
    assert len(velocity) >= 3
    speed, angle = np.linalg.norm(velocity, axis=1), np.arctan2(velocity[:, 1], velocity[:, 0])
    along, across = np.abs(np.cos(angle)), np.abs(np.sin(angle))
    expected = (along * STEADY.width + across * STEADY.height) / (STEADY.max_crossing_s * STEADY.fps)
    # Boxes are whole pixels: each end of a path is right to about one.
    assert speed == pytest.approx(expected, abs=0.35)
    assert np.ptp(velocity, axis=0) == pytest.approx([0, 0], abs=0.5)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_belt_carries_its_texture_along(seed: int) -> None:
    """A frame of the empty belt looks like the one before moved by a step, more than like it unmoved."""
    bare = replace(STEADY, num_frames=2, parts_in_view=0.0, degrade=0.0, flicker=0.0)
    before, after = (frame.image.astype(float).mean(axis=2) for frame in render_video_scene(seed, bare))
    step = (
        round(bare.width / (bare.max_crossing_s * bare.fps)),
        round(bare.height / (bare.max_crossing_s * bare.fps)),
    )
    shifts = [(0, 0), (0, step[0]), (0, -step[0]), (step[1], 0), (-step[1], 0)]
    inside = slice(20, -20), slice(20, -20)
    errors = [np.abs(np.roll(before, shift, axis=(0, 1)) - after)[inside].mean() for shift in shifts]
    assert np.argmin(errors) != 0


@pytest.mark.parametrize("seed", SEEDS)
def test_ids_outlast_the_crossbar_and_are_not_given_again(seed: int) -> None:
    spec = replace(STEADY, bar=0.3, num_frames=60)
    frames = list(render_video_scene(seed, spec))
    open_belt = list(render_video_scene(seed, replace(spec, bar=0.0)))
    come_back = 0
    for track_id, path in follow(frames).items():
        free = follow(open_belt)[track_id]
        assert set(path) <= set(free), "a part is seen under its id only where it is without the crossbar"
        first, last = min(path), max(path)
        hidden = [k for k in range(first, last + 1) if k not in path or path[k][2] < 0.1 < free[k][2]]
        clear = [k for k, (_, _, seen) in path.items() if seen > 0.9]
        come_back += bool(hidden and clear and min(clear) < min(hidden) and max(hidden) < max(clear))
        # One pass over the belt: who has left does not come again under the same id.
        assert list(free) == list(range(min(free), max(free) + 1))
    assert come_back >= 1


def test_the_crossbar_only_takes_from_what_is_seen() -> None:
    spec = replace(STEADY, num_frames=20)
    for covered, free in zip(
        render_video_scene(1, replace(spec, bar=0.2)), render_video_scene(1, spec), strict=True
    ):
        shown = covered.track_map > 0
        assert np.array_equal(covered.track_map[shown], free.track_map[shown])
        assert shown.sum() <= (free.track_map > 0).sum()


def test_still_things_keep_their_pose_and_slipping_ones_gain() -> None:
    assert Ride(middle_s=2.0).displacement(9.0, 80.0) == pytest.approx(np.eye(3))
    slipping = Ride(slip=0.1, middle_s=2.0)
    assert slipping.displacement(2.0, 80.0) == pytest.approx(np.eye(3))
    assert slipping.displacement(4.0, 80.0)[0, 2] == pytest.approx(0.1 * 80 * 2)


def test_a_push_begins_ends_and_goes_on_smoothly() -> None:
    pushed = Ride(nudge=(12.0, -5.0), turn=0.6, nudge_s=1.0)
    end = similarity(scale=1.0, angle=0.6, x=12.0, y=-5.0)
    assert pushed.displacement(1.0, 80.0) == pytest.approx(np.eye(3))
    assert pushed.displacement(1.0 + NUDGE_S, 80.0) == pytest.approx(end)
    assert pushed.displacement(50.0, 80.0) == pytest.approx(end)
    halfway = pushed.displacement(1.0 + NUDGE_S / 2, 80.0)
    assert halfway[:2, 2] == pytest.approx([6.0, -2.5])
    assert math.atan2(halfway[1, 0], halfway[0, 0]) == pytest.approx(0.3)


def test_a_camera_without_shake_or_drift_stands_still() -> None:
    rng = np.random.default_rng(0)
    still = random_path(rng, shake_px=0.0, drift_px=0.0)
    assert still.at(3.7, 320, 240) == pytest.approx(np.eye(3))
    shaken = random_path(rng, shake_px=1.0, drift_px=0.0)
    middles = [project(shaken.at(t, 320, 240), np.array([[160.0, 120.0]]))[0] for t in np.arange(0, 4, 0.1)]
    spread = np.std(middles, axis=0)
    assert (spread > 0.05).all()
    assert (spread < 3.0).all()


def test_every_frame_has_noise_of_its_own() -> None:
    standing = replace(STEADY, num_frames=2, degrade=1.0, flicker=0.0, min_crossing_s=1e6, max_crossing_s=1e6)
    one, two = render_video_scene(4, standing)
    assert np.array_equal(one.track_map, two.track_map)
    change = np.abs(one.image.astype(int) - two.image)
    assert 0.5 < change.mean() < 12, "noise, and nothing else"
