"""The one Kalman filter: boxes that move with constant velocity, all tracks at once.

Every coordinate has a position and a velocity (or a position alone), and all noise is diagonal. The filter
of eight or seven dimensions that the papers write down is then one of two dimensions for each coordinate, and
a step of all of them is one product with a small matrix that is the same for all. Few objects are in a frame,
so a call of NumPy costs more than what it computes: everything lies in one array, a row for each quantity,
that is worked on with few calls.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from cvcore.track.association import Floats, Ints

# Rows of the state: what is believed of each coordinate, and the variances of noise that it meets.
POSITION, VELOCITY, VAR_POSITION, COVARIANCE, VAR_VELOCITY = range(5)
PROCESS_POSITION, PROCESS_VELOCITY, MEASUREMENT = range(5, 8)
NUM_ROWS = 8

_TINY = np.array(1e-9)  # arrays, as NumPy takes longer with numbers
_ONE = np.array(1.0)


def _step_matrix() -> Floats:
    """x' = Fx and P' = FPFᵀ + Q, of one coordinate, with F = [[1, 1], [0, 1]]."""
    step = np.eye(NUM_ROWS)
    step[POSITION, VELOCITY] = 1
    step[VAR_POSITION, [COVARIANCE, VAR_VELOCITY, PROCESS_POSITION]] = 2, 1, 1
    step[COVARIANCE, VAR_VELOCITY] = 1
    step[VAR_VELOCITY, PROCESS_VELOCITY] = 1
    return step


_STEP = _step_matrix()
# Reaches (-x0, -y0, x1, y1) to centre, width and height, and back.
_CENTRE_OF = np.array([[-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5], [1, 0, 1, 0], [0, 1, 0, 1]])
_REACH_OF = np.array([[-1, 0, 0.5, 0], [0, -1, 0, 0.5], [1, 0, 0.5, 0], [0, 1, 0, 0.5]])


class Motion(Protocol):
    """How boxes become coordinates, and how uncertain their motion and measurement are.

    Boxes are reaches, (4, N), as in `cvcore.track.association`.
    """

    def measure(self, reaches: Floats) -> Floats:
        """(4, N) coordinates of boxes."""

    def reaches(self, position: Floats) -> Floats:
        """The inverse of `measure`."""

    def initial(self, measured: Floats) -> Floats:
        """(8, 4, N): the state of tracks seen once."""

    def before_step(self, state: Floats) -> None:
        """Set the process noise, in place, if it is not constant."""

    def after_step(self, state: Floats) -> None:
        """Set the measurement noise, in place, if it is not constant, and undo what cannot be."""


class BoxFilter:
    """The states of all tracks: `state` is (8, 4, T), its rows in the order of the constants above."""

    def __init__(self, motion: Motion) -> None:
        self.motion = motion
        self.state: Floats = np.zeros((NUM_ROWS, 4, 0))

    def __len__(self) -> int:
        return int(self.state.shape[2])

    def append(self, measured: Floats) -> None:
        """Begin tracks at coordinates, (4, N)."""
        self.state = np.concatenate((self.state, self.motion.initial(measured)), axis=2)

    def keep(self, mask: npt.NDArray[np.bool_]) -> None:
        """Keep the tracks where `mask`, (T,), holds."""
        self.state = self.state.compress(mask, axis=2)

    def predict(self) -> None:
        """One step of all tracks."""
        self.motion.before_step(self.state)
        shape = self.state.shape
        self.state = _STEP.dot(self.state.reshape(NUM_ROWS, -1)).reshape(shape)
        self.motion.after_step(self.state)

    def correct(self, found: Ints, measured: Floats, *, seen: npt.NDArray[np.bool_]) -> None:
        """Correct tracks by measurements.

        K = P'Hᵀ(HP'Hᵀ + R)⁻¹, x = x' + K(z - Hx'), P = (I - KH)P', where H takes the position.

        Args:
            found: (T,) the measurement of each track; -1 where it has none, and stays as predicted.
            measured: (4, N) coordinates.
            seen: (T,) which tracks have one.
        """
        if not len(found) or not measured.shape[1]:
            return
        position, velocity, var_p, cov, var_v, _, _, noise = self.state
        weight = var_p + noise
        np.divide(seen if np.count_nonzero(seen) < len(found) else _ONE, weight, out=weight)  # 0: unmoved
        gain_p, gain_v = var_p * weight, cov * weight
        surprise = measured.take(found, axis=1)
        surprise -= position
        position += gain_p * surprise
        velocity += gain_v * surprise
        var_v -= gain_v * cov
        rest = _ONE - gain_p
        cov *= rest
        var_p *= rest

    def reaches(self) -> Floats:
        """Where the tracks are, (4, T)."""
        return self.motion.reaches(self.state[POSITION])


class AreaMotion:
    """SORT's (section 3.2): centre, area and aspect ratio (w / h), the last without a velocity.

    The paper leaves the noise open; the values are those of its authors' code.
    """

    _AREA, _RATIO = 2, 3
    _NEW = np.zeros((NUM_ROWS, 4, 1))
    _NEW[VAR_POSITION, :, 0] = 10.0
    _NEW[VAR_VELOCITY, :, 0] = 1e4, 1e4, 1e4, 0.0
    _NEW[PROCESS_POSITION, :, 0] = 1.0
    _NEW[PROCESS_VELOCITY, :, 0] = 1e-2, 1e-2, 1e-4, 0.0
    _NEW[MEASUREMENT, :, 0] = 1.0, 1.0, 10.0, 10.0

    def measure(self, reaches: Floats) -> Floats:
        out: Floats = _CENTRE_OF.dot(reaches)
        width, height = np.maximum(out[2:], _TINY)
        np.multiply(width, height, out=out[self._AREA])
        np.divide(width, height, out=out[self._RATIO])
        return out

    def reaches(self, position: Floats) -> Floats:
        out = position.copy()
        area, ratio = np.maximum(out[2:], _TINY)
        width = np.sqrt(area * ratio, out=out[2])
        np.divide(area, width, out=out[3])
        found: Floats = _REACH_OF.dot(out)
        return found

    def initial(self, measured: Floats) -> Floats:
        state = self._NEW.repeat(measured.shape[1], axis=2)
        state[POSITION] = measured
        return state

    def before_step(self, state: Floats) -> None:
        """Its noise is constant."""

    def after_step(self, state: Floats) -> None:
        """An area that would vanish stays as it was."""
        area = state[POSITION, self._AREA]
        vanishes = area <= 0
        if np.count_nonzero(vanishes):
            velocity = state[VELOCITY, self._AREA]
            area[vanishes] -= velocity[vanishes]
            velocity[vanishes] = 0.0


def _terms(*deviations: tuple[float, float]) -> Floats:
    """(4K, 2): what the variances of centre, aspect ratio and height have of the height's square, and of 1.

    Args:
        deviations: of each of K rows, in heights; and that of the aspect ratio.
    """
    rows = [
        row
        for height, ratio in deviations
        for row in ((height**2, 0), (height**2, 0), (0, ratio**2), (height**2, 0))
    ]
    return np.array(rows, np.float64)


class HeightMotion:
    """ByteTrack's, from DeepSORT (Wojke et al. 2017, section 2.1): centre, aspect ratio (w / h) and height.

    Noise is relative to the height: standard deviations of 1/20 of it for positions, 1/160 for velocities,
    and ten times and twice as much at first. That of the aspect ratio is constant.
    """

    _RATIO, _HEIGHT = 2, 3

    _INITIAL_POSITION = _terms((2 / 20, 1e-2))
    _INITIAL_VELOCITY = _terms((10 / 160, 1e-5))
    _PROCESS = _terms((1 / 20, 1e-2), (1 / 160, 1e-5))
    _MEASUREMENT = _terms((1 / 20, 1e-1))

    def measure(self, reaches: Floats) -> Floats:
        out: Floats = _CENTRE_OF.dot(reaches)
        sizes = out[2:]
        np.maximum(sizes, _TINY, out=sizes)
        out[self._RATIO] /= out[self._HEIGHT]
        return out

    def reaches(self, position: Floats) -> Floats:
        out = position.copy()
        out[self._RATIO] *= out[self._HEIGHT]
        found: Floats = _REACH_OF.dot(out)
        return found

    def initial(self, measured: Floats) -> Floats:
        state = np.zeros((NUM_ROWS, *measured.shape))
        state[POSITION] = measured
        self._set(state[VAR_POSITION], self._INITIAL_POSITION, measured)
        self._set(state[VAR_VELOCITY], self._INITIAL_VELOCITY, measured)
        return state

    def before_step(self, state: Floats) -> None:
        self._set(state[PROCESS_POSITION : PROCESS_VELOCITY + 1], self._PROCESS, state[POSITION])

    def after_step(self, state: Floats) -> None:
        self._set(state[MEASUREMENT], self._MEASUREMENT, state[POSITION])

    def _set(self, rows: Floats, terms: Floats, position: Floats) -> None:
        """Set whole rows of a state, (K, 4, N) or (4, N), to what `terms` are at the heights of now."""
        height = position[self._HEIGHT]
        basis = np.empty((2, len(height)))
        np.multiply(height, height, out=basis[0])
        basis[1] = 1.0
        terms.dot(basis, out=rows.reshape(len(terms), -1))  # a view, as whole rows are contiguous
