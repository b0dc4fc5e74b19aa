"""The one Kalman filter: boxes that move with constant velocity, all tracks at once.

Every coordinate has a position and a velocity (or a position alone), and all noise is diagonal. The filter
of eight or seven dimensions that the papers write down is then one of two dimensions for each coordinate, and
its equations are products of numbers: no matrix is multiplied or inverted.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

POSITION, VELOCITY, VAR_POSITION, COVARIANCE, VAR_VELOCITY = range(5)
_TINY = 1e-9


class Motion(Protocol):
    """How boxes become coordinates, and how uncertain their motion and measurement are."""

    def measure(self, boxes: Floats) -> Floats:
        """(N, 4) xyxy pixels to (N, 4) coordinates."""

    def boxes(self, position: Floats) -> Floats:
        """The inverse of `measure`."""

    def initial(self, measured: Floats) -> Floats:
        """(5, N, 4): position, velocity, their variances and covariance, of tracks seen once."""

    def process_noise(self, position: Floats) -> tuple[Floats, Floats]:
        """Variances that a step adds to position and velocity, (N, 4) or (4,)."""

    def measurement_noise(self, position: Floats) -> Floats:
        """Variance of a measurement, (N, 4) or (4,)."""

    def restrain(self, state: Floats) -> None:
        """Change what must not be before a step, in place: a size that would become negative."""


class BoxFilter:
    """The states of all tracks: `state` is (5, T, 4), in the order of the constants above."""

    def __init__(self, motion: Motion) -> None:
        self.motion = motion
        self.state: Floats = np.zeros((5, 0, 4))

    def __len__(self) -> int:
        return int(self.state.shape[1])

    def append(self, boxes: Floats) -> None:
        """Begin tracks at boxes, (N, 4) xyxy pixels."""
        new = self.motion.initial(self.motion.measure(boxes))
        self.state = np.concatenate([self.state, new], axis=1)

    def keep(self, mask: npt.NDArray[np.bool_]) -> None:
        """Keep the tracks where `mask`, (T,), holds."""
        self.state = self.state[:, mask]

    def predict(self) -> None:
        """One step: x' = Fx, P' = FPFᵀ + Q, where F adds the velocity to the position."""
        self.motion.restrain(self.state)
        position, velocity, var_p, cov, var_v = self.state
        noise_p, noise_v = self.motion.process_noise(position)
        position += velocity
        var_p += 2 * cov + var_v + noise_p
        cov += var_v
        var_v += noise_v

    def update(self, tracks: npt.NDArray[np.int64], boxes: Floats) -> None:
        """Correct some tracks, each once, by boxes, (N, 4) xyxy pixels.

        K = P'Hᵀ(HP'Hᵀ + R)⁻¹, x = x' + K(z - Hx'), P = (I - KH)P', where H takes the position.
        """
        if not len(tracks):
            return
        state = self.state[:, tracks]
        position, velocity, var_p, cov, var_v = state
        total = var_p + self.motion.measurement_noise(position)
        gain_p, gain_v = var_p / total, cov / total
        surprise = self.motion.measure(boxes) - position
        position += gain_p * surprise
        velocity += gain_v * surprise
        var_v -= gain_v * cov
        rest = 1 - gain_p
        cov *= rest
        var_p *= rest
        self.state[:, tracks] = state

    def boxes(self) -> Floats:
        """Where the tracks are, (T, 4) xyxy pixels."""
        return self.motion.boxes(self.state[POSITION])


class AreaMotion:
    """SORT's (section 3.2): centre, area and aspect ratio (w / h), the last without a velocity.

    The paper leaves the noise open; the values are those of its authors' code.
    """

    _INITIAL_P = np.array([10.0, 10.0, 10.0, 10.0])
    _INITIAL_V = np.array([1e4, 1e4, 1e4, 0.0])
    _PROCESS_P = np.array([1.0, 1.0, 1.0, 1.0])
    _PROCESS_V = np.array([1e-2, 1e-2, 1e-4, 0.0])
    _MEASUREMENT = np.array([1.0, 1.0, 10.0, 10.0])

    def measure(self, boxes: Floats) -> Floats:
        size = np.maximum(boxes[:, 2:] - boxes[:, :2], _TINY)
        out = np.empty_like(boxes, dtype=np.float64)
        out[:, :2] = (boxes[:, :2] + boxes[:, 2:]) / 2
        out[:, 2] = size[:, 0] * size[:, 1]
        out[:, 3] = size[:, 0] / size[:, 1]
        return out

    def boxes(self, position: Floats) -> Floats:
        area, ratio = np.maximum(position[:, 2], _TINY), np.maximum(position[:, 3], _TINY)
        width = np.sqrt(area * ratio)
        return _around(position, width / 2, area / width / 2)

    def initial(self, measured: Floats) -> Floats:
        state = np.zeros((5, *measured.shape))
        state[POSITION] = measured
        state[VAR_POSITION] = self._INITIAL_P
        state[VAR_VELOCITY] = self._INITIAL_V
        return state

    def process_noise(self, position: Floats) -> tuple[Floats, Floats]:
        del position
        return self._PROCESS_P, self._PROCESS_V

    def measurement_noise(self, position: Floats) -> Floats:
        del position
        return self._MEASUREMENT

    def restrain(self, state: Floats) -> None:
        shrinks_away = state[POSITION, :, 2] + state[VELOCITY, :, 2] <= 0
        state[VELOCITY, shrinks_away, 2] = 0.0


class HeightMotion:
    """ByteTrack's, from DeepSORT (Wojke et al. 2017, section 2.1): centre, aspect ratio (w / h) and height.

    Noise is relative to the height: standard deviations of 1/20 of it for positions, 1/160 for velocities.
    """

    _POSITION, _VELOCITY = 1 / 20, 1 / 160

    def measure(self, boxes: Floats) -> Floats:
        size = np.maximum(boxes[:, 2:] - boxes[:, :2], _TINY)
        out = np.empty_like(boxes, dtype=np.float64)
        out[:, :2] = (boxes[:, :2] + boxes[:, 2:]) / 2
        out[:, 2] = size[:, 0] / size[:, 1]
        out[:, 3] = size[:, 1]
        return out

    def boxes(self, position: Floats) -> Floats:
        half = position[:, 3] / 2
        return _around(position, half * position[:, 2], half)

    def initial(self, measured: Floats) -> Floats:
        state = np.zeros((5, *measured.shape))
        state[POSITION] = measured
        state[VAR_POSITION] = self._variance(measured, 2 * self._POSITION, ratio=1e-2)
        state[VAR_VELOCITY] = self._variance(measured, 10 * self._VELOCITY, ratio=1e-5)
        return state

    def process_noise(self, position: Floats) -> tuple[Floats, Floats]:
        return (
            self._variance(position, self._POSITION, ratio=1e-2),
            self._variance(position, self._VELOCITY, ratio=1e-5),
        )

    def measurement_noise(self, position: Floats) -> Floats:
        return self._variance(position, self._POSITION, ratio=1e-1)

    def restrain(self, state: Floats) -> None:
        """Heights are not restrained here: the tracker stops those of tracks that it has lost."""

    @staticmethod
    def _variance(position: Floats, weight: float, *, ratio: float) -> Floats:
        out = np.empty_like(position)
        out[:] = np.square(weight * position[:, 3:])
        out[:, 2] = ratio * ratio
        return out


def _around(centres: Floats, half_width: Floats, half_height: Floats) -> Floats:
    """Boxes by their centres (the first two columns) and half of their sides."""
    out = np.empty((len(centres), 4))
    out[:, 0] = centres[:, 0] - half_width
    out[:, 1] = centres[:, 1] - half_height
    out[:, 2] = centres[:, 0] + half_width
    out[:, 3] = centres[:, 1] + half_height
    return out
