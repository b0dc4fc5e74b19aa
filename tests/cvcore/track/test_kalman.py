"""The filter of all tracks at once against the matrices of the papers, a track at a time."""

from __future__ import annotations

import numpy as np
import pytest

from cvcore.track.kalman import POSITION, VELOCITY, AreaMotion, BoxFilter, HeightMotion, Motion


class MatrixFilter:
    """One track, as the textbooks have it: x' = Fx, P' = FPFᵀ + Q; K = PHᵀ(HPHᵀ + R)⁻¹."""

    def __init__(self, motion: Motion, box: np.ndarray) -> None:
        self.motion = motion
        start = motion.initial(motion.measure(box[None]))[:, 0]
        self.x = np.concatenate([start[0], start[1]])
        self.p = np.diag(np.concatenate([start[2], start[4]]))
        self.f = np.block([[np.eye(4), np.eye(4)], [np.zeros((4, 4)), np.eye(4)]])
        self.h = np.eye(4, 8)

    def predict(self) -> None:
        noise = [np.broadcast_to(part, (1, 4))[0] for part in self.motion.process_noise(self.x[None, :4])]
        self.x = self.f @ self.x
        self.p = self.f @ self.p @ self.f.T + np.diag(np.concatenate(noise))

    def update(self, box: np.ndarray) -> None:
        r = np.diag(np.broadcast_to(self.motion.measurement_noise(self.x[None, :4]), (1, 4))[0])
        gain = self.p @ self.h.T @ np.linalg.inv(self.h @ self.p @ self.h.T + r)
        self.x = self.x + gain @ (self.motion.measure(box[None])[0] - self.h @ self.x)
        self.p = (np.eye(8) - gain @ self.h) @ self.p


def boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corner = rng.uniform(0, 500, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(20, 120, (count, 2))], axis=1)


@pytest.mark.parametrize("motion", [AreaMotion(), HeightMotion()], ids=["area", "height"])
def test_all_tracks_at_once_equal_matrices_one_by_one(motion: Motion) -> None:
    rng = np.random.default_rng(3)
    start = boxes(rng, 5)
    batched, single = BoxFilter(motion), [MatrixFilter(motion, box) for box in start]
    batched.append(start)
    for step in range(12):
        batched.predict()
        for each in single:
            each.predict()
        seen = np.flatnonzero(rng.random(5) < 0.7)
        now = start[seen] + 4.0 * step + rng.normal(0, 1, (len(seen), 4))
        batched.update(seen, now)
        for track, box in zip(seen, now, strict=True):
            single[track].update(box)
        for track, each in enumerate(single):
            found = np.concatenate([batched.state[POSITION, track], batched.state[VELOCITY, track]])
            np.testing.assert_allclose(found, each.x, rtol=1e-9, atol=1e-9)
            variances = np.concatenate([batched.state[2, track], batched.state[4, track]])
            np.testing.assert_allclose(variances, np.diag(each.p), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("motion", [AreaMotion(), HeightMotion()], ids=["area", "height"])
def test_boxes_survive_the_change_of_coordinates(motion: Motion) -> None:
    given = boxes(np.random.default_rng(1), 20)
    np.testing.assert_allclose(motion.boxes(motion.measure(given)), given, rtol=1e-9)
    assert motion.boxes(motion.measure(np.zeros((0, 4)))).shape == (0, 4)
    flat = np.array([[5.0, 5.0, 5.0, 9.0], [1.0, 2.0, 3.0, 2.0]])
    assert np.isfinite(motion.boxes(motion.measure(flat))).all(), "boxes without area are no error"


@pytest.mark.parametrize("motion", [AreaMotion(), HeightMotion()], ids=["area", "height"])
def test_a_steady_motion_is_learnt_and_foreseen(motion: Motion) -> None:
    tracks = BoxFilter(motion)
    box = np.array([[100.0, 50.0, 160.0, 170.0]])
    tracks.append(box)
    for step in range(1, 30):
        tracks.predict()
        tracks.update(np.array([0]), box + 5.0 * step)
    for step in range(30, 35):
        tracks.predict()
        np.testing.assert_allclose(tracks.boxes(), box + 5.0 * step, atol=2.0)


def test_an_area_never_becomes_negative() -> None:
    tracks = BoxFilter(AreaMotion())
    tracks.append(np.array([[0.0, 0.0, 10.0, 10.0]]))
    for side in (9.0, 7.0, 4.0, 1.0):
        tracks.predict()
        tracks.update(np.array([0]), np.array([[0.0, 0.0, side, side]]))
    for _ in range(50):
        tracks.predict()
        assert (tracks.boxes()[:, 2:] >= tracks.boxes()[:, :2]).all()


def test_tracks_are_kept_by_mask_and_none_is_fine() -> None:
    tracks = BoxFilter(HeightMotion())
    tracks.predict()
    assert tracks.boxes().shape == (0, 4)
    given = boxes(np.random.default_rng(2), 3)
    tracks.append(given)
    tracks.keep(np.array([True, False, True]))
    assert len(tracks) == 2
    np.testing.assert_allclose(tracks.boxes(), given[[0, 2]])
