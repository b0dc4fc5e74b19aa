"""How things move in a video scene: parts against the belt, the camera, the lamp's brightness."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cvcore.scenes.geometry import Matrix, similarity

NUDGE_S = 0.8
"""How long a nudge lasts."""


@dataclass(frozen=True, slots=True)
class Ride:
    """How one thing moves relative to the belt that carries it.

    Attributes:
        slip: its extra speed along the belt, a fraction of the belt's.
        middle_s: when it passes the picture's middle; there its slip has not displaced it.
        nudge: displacement along and across the belt, pixels, by a push.
        turn: rotation by the same push, radians.
        nudge_s: when the push begins.
    """

    slip: float = 0.0
    middle_s: float = 0.0
    nudge: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.0
    nudge_s: float = 0.0

    def displacement(self, time_s: float, speed_px_s: float) -> Matrix:
        """The pose at `time_s` relative to the belt, 3x3: moved along x and across y, turned."""
        done = min(1.0, max(0.0, (time_s - self.nudge_s) / NUDGE_S))
        done = done * done * (3 - 2 * done)
        along = self.slip * speed_px_s * (time_s - self.middle_s) + done * self.nudge[0]
        return similarity(scale=1.0, angle=done * self.turn, x=along, y=done * self.nudge[1])


def random_ride(
    rng: np.random.Generator, *, middle_s: float, crossing_s: float, size_px: float, share: float
) -> Ride:
    """A thing that lies still with probability 1 - `share`; else it slips, is pushed, or both."""
    moves, kind = rng.random() < share, int(rng.integers(3))
    slip = float(rng.uniform(0.03, 0.14) * rng.choice(np.array([-1.0, 1.0])))
    along, across = (rng.uniform(-0.35, 0.35, 2) * size_px).tolist()
    turn, begin = float(rng.uniform(-0.9, 0.9)), middle_s + crossing_s * float(rng.uniform(-0.35, 0.25))
    if not moves:
        return Ride(middle_s=middle_s)
    if kind == 0:
        return Ride(slip=slip, middle_s=middle_s)
    return Ride(slip if kind == 1 else 0.0, middle_s, (along, across), turn, begin)


@dataclass(frozen=True, slots=True)
class CameraPath:
    """A camera on a bracket: it trembles with the machine and sags slowly.

    Attributes:
        waves: (K, 4) float64: frequency, Hz; phase, radians; amplitude along x and y, pixels.
        roll: amplitude of its rotation about the picture's middle, radians, with the first wave.
    """

    waves: Matrix
    roll: float

    def at(self, time_s: float, width: int, height: int) -> Matrix:
        """The motion of the picture at `time_s`, a 3x3 matrix of pixels to pixels."""
        swing = np.sin(2 * math.pi * self.waves[:, 0] * time_s + self.waves[:, 1])
        x, y = (swing @ self.waves[:, 2:]).tolist()
        to_middle = similarity(scale=1.0, angle=0.0, x=-width / 2, y=-height / 2)
        turn = similarity(scale=1.0, angle=self.roll * float(swing[0]), x=width / 2 + x, y=height / 2 + y)
        return np.asarray(turn @ to_middle, dtype=np.float64)


def random_path(rng: np.random.Generator, *, shake_px: float, drift_px: float) -> CameraPath:
    """Four trembling waves of 0.7 to 5 Hz, `shake_px` together, and one of a minute's order, `drift_px`."""
    waves = np.zeros((5, 4))
    waves[:, 0] = [0.7, 1.9, 3.1, 4.7, 0.03]
    waves[:, 0] *= rng.uniform(0.8, 1.2, 5)
    waves[:, 1] = rng.uniform(0, 2 * math.pi, 5)
    waves[:, 2:] = rng.normal(0, 0.5, (5, 2)) * np.array([[shake_px]] * 4 + [[2 * drift_px]])
    return CameraPath(waves, roll=0.0015 * shake_px)


@dataclass(frozen=True, slots=True)
class Flicker:
    """A lamp on mains power, seen by a camera that beats against it.

    Attributes:
        depth: greatest relative change of brightness.
        hz: of the beat.
        phase: radians.
    """

    depth: float
    hz: float
    phase: float

    def gain(self, time_s: float) -> float:
        """The brightness at `time_s` over the mean."""
        return 1 + self.depth * math.sin(2 * math.pi * self.hz * time_s + self.phase)
