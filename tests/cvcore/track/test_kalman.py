"""The filter of all tracks at once against the matrices of the papers, a track at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from cvcore.track.association import reaches_of
from cvcore.track.kalman import (
    COVARIANCE,
    POSITION,
    VAR_POSITION,
    VAR_VELOCITY,
    VELOCITY,
    AreaMotion,
    BoxFilter,
    HeightMotion,
    Motion,
)


class SortMatrices:
    """The seven dimensions of the authors' code: x, y, s, r and the velocities of the first three."""

    f = np.eye(7) + np.eye(7, k=4)
    h = np.eye(4, 7)
    p_first = np.diag([10.0, 10, 10, 10, 1e4, 1e4, 1e4])

    def measure(self, box: np.ndarray) -> np.ndarray:
        width, height = box[2] - box[0], box[3] - box[1]
        return np.array([box[0] + width / 2, box[1] + height / 2, width * height, width / height])

    def first(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.concatenate([z, np.zeros(3)]), self.p_first

    def q(self, _x: np.ndarray) -> np.ndarray:
        return np.diag([1, 1, 1, 1, 0.01, 0.01, 0.0001])

    def r(self, _x: np.ndarray) -> np.ndarray:
        return np.diag([1.0, 1, 10, 10])


class DeepSortMatrices:
    """The eight dimensions of DeepSORT's authors, that ByteTrack's take over: x, y, a, h and velocities."""

    f = np.eye(8) + np.eye(8, k=4)
    h = np.eye(4, 8)

    def measure(self, box: np.ndarray) -> np.ndarray:
        width, height = box[2] - box[0], box[3] - box[1]
        return np.array([box[0] + width / 2, box[1] + height / 2, width / height, height])

    def first(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        position, velocity = 2 * z[3] / 20, 10 * z[3] / 160
        deviations = [position, position, 1e-2, position, velocity, velocity, 1e-5, velocity]
        return np.concatenate([z, np.zeros(4)]), np.diag(np.square(deviations))

    def q(self, x: np.ndarray) -> np.ndarray:
        position, velocity = x[3] / 20, x[3] / 160
        return np.diag(np.square([position, position, 1e-2, position, velocity, velocity, 1e-5, velocity]))

    def r(self, x: np.ndarray) -> np.ndarray:
        return np.diag(np.square([x[3] / 20, x[3] / 20, 1e-1, x[3] / 20]))


Matrices = SortMatrices | DeepSortMatrices
BOTH = [(AreaMotion(), SortMatrices()), (HeightMotion(), DeepSortMatrices())]
MOTIONS = [motion for motion, _ in BOTH]
IDS = ["area", "height"]


@dataclass
class MatrixTrack:
    """One track, as the textbooks have it: x' = Fx, P' = FPFᵀ + Q; K = PHᵀ(HPHᵀ + R)⁻¹."""

    matrices: Matrices
    x: np.ndarray
    p: np.ndarray

    def predict(self) -> None:
        m = self.matrices
        self.x, self.p = m.f @ self.x, m.f @ self.p @ m.f.T + m.q(self.x)

    def update(self, box: np.ndarray) -> None:
        m = self.matrices
        gain = self.p @ m.h.T @ np.linalg.inv(m.h @ self.p @ m.h.T + m.r(self.x))
        self.x = self.x + gain @ (m.measure(box) - m.h @ self.x)
        self.p = (np.eye(len(self.x)) - gain @ m.h) @ self.p


def boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corner = rng.uniform(0, 500, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(20, 120, (count, 2))], axis=1)


def measured(tracks: BoxFilter, given: np.ndarray) -> np.ndarray:
    return tracks.motion.measure(reaches_of(given))


def boxes_of(tracks: BoxFilter) -> np.ndarray:
    """(T, 4) xyxy."""
    return (tracks.reaches() * [[-1], [-1], [1], [1]]).T


@pytest.mark.parametrize(("motion", "matrices"), BOTH, ids=IDS)
def test_all_tracks_at_once_equal_matrices_one_by_one(motion: Motion, matrices: Matrices) -> None:
    rng = np.random.default_rng(3)
    start = boxes(rng, 5)
    batched = BoxFilter(motion)
    batched.append(measured(batched, start))
    single = [MatrixTrack(matrices, *matrices.first(matrices.measure(box))) for box in start]
    for step in range(12):
        batched.predict()
        for each in single:
            each.predict()
        seen = rng.permutation(5)[: rng.integers(0, 6)]
        now = start[seen] + 4.0 * step + rng.normal(0, 1, (len(seen), 4))
        found = np.full(5, -1)
        found[seen] = np.arange(len(seen))
        batched.correct(found, measured(batched, now), seen=found >= 0)
        for track, box in zip(seen, now, strict=True):
            single[track].update(box)
        for track, each in enumerate(single):
            size = len(each.x) - 4
            state = batched.state[:, :, track]
            np.testing.assert_allclose(state[POSITION], each.x[:4], rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(state[VELOCITY, :size], each.x[4:], rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(state[VAR_POSITION], np.diag(each.p)[:4], rtol=1e-8, atol=1e-9)
            np.testing.assert_allclose(state[VAR_VELOCITY, :size], np.diag(each.p)[4:], rtol=1e-8, atol=1e-9)
            both = np.diag(each.p[:size, 4:])
            np.testing.assert_allclose(state[COVARIANCE, :size], both, rtol=1e-8, atol=1e-9)
            assert not state[VELOCITY, size:].any(), "SORT's aspect ratio has no velocity"


@pytest.mark.parametrize("motion", MOTIONS, ids=IDS)
def test_a_track_without_a_measurement_stays_as_predicted(motion: Motion) -> None:
    tracks = BoxFilter(motion)
    given = boxes(np.random.default_rng(4), 3)
    tracks.append(measured(tracks, given))
    tracks.predict()
    before = tracks.state.copy()
    found = np.array([-1, 0, -1])
    tracks.correct(found, measured(tracks, given[1:2] + 3), seen=found >= 0)
    assert np.array_equal(tracks.state[:, :, [0, 2]], before[:, :, [0, 2]])
    assert not np.array_equal(tracks.state[:, :, 1], before[:, :, 1])


@pytest.mark.parametrize("motion", MOTIONS, ids=IDS)
def test_boxes_survive_the_change_of_coordinates(motion: Motion) -> None:
    given = reaches_of(boxes(np.random.default_rng(1), 20))
    np.testing.assert_allclose(motion.reaches(motion.measure(given)), given, rtol=1e-9)
    assert motion.reaches(motion.measure(np.zeros((4, 0)))).shape == (4, 0)
    flat = reaches_of(np.array([[5.0, 5.0, 5.0, 9.0], [1.0, 2.0, 3.0, 2.0]]))
    assert np.isfinite(motion.reaches(motion.measure(flat))).all(), "boxes without area are no error"


@pytest.mark.parametrize("motion", MOTIONS, ids=IDS)
def test_a_steady_motion_is_learnt_and_foreseen(motion: Motion) -> None:
    tracks = BoxFilter(motion)
    box = np.array([[100.0, 50.0, 160.0, 170.0]])
    tracks.append(measured(tracks, box))
    for step in range(1, 30):
        tracks.predict()
        tracks.correct(np.array([0]), measured(tracks, box + 5.0 * step), seen=np.array([True]))
    for step in range(30, 35):
        tracks.predict()
        np.testing.assert_allclose(boxes_of(tracks), box + 5.0 * step, atol=2.0)


def test_an_area_never_becomes_negative() -> None:
    tracks = BoxFilter(AreaMotion())
    tracks.append(measured(tracks, np.array([[0.0, 0.0, 10.0, 10.0]])))
    for side in (9.0, 7.0, 4.0, 1.0):
        tracks.predict()
        now = measured(tracks, np.array([[0.0, 0.0, side, side]]))
        tracks.correct(np.array([0]), now, seen=np.array([True]))
    assert tracks.state[VELOCITY, 2, 0] < 0, "it shrinks, and would be gone soon"
    for _ in range(50):
        tracks.predict()
        assert tracks.state[POSITION, 2, 0] > 0
        found = boxes_of(tracks)
        assert (found[:, 2:] >= found[:, :2]).all()


def test_tracks_are_kept_by_mask_and_none_is_fine() -> None:
    tracks = BoxFilter(HeightMotion())
    tracks.predict()
    assert boxes_of(tracks).shape == (0, 4)
    given = boxes(np.random.default_rng(2), 3)
    tracks.append(measured(tracks, given))
    tracks.keep(np.array([True, False, True]))
    assert len(tracks) == 2
    np.testing.assert_allclose(boxes_of(tracks), given[[0, 2]])
