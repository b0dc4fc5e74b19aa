"""Plane geometry of the parts: outlines, similarity transforms and the camera's homography."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]


def regular_polygon(
    radius: float, sides: int, *, center: tuple[float, float] = (0.0, 0.0), phase: float = 0.0
) -> Points:
    """Corners of a regular polygon, (sides, 2) xy; `phase` is the first corner's angle in radians."""
    angles = phase + np.arange(sides) * (2 * math.pi / sides)
    return np.stack([center[0] + radius * np.cos(angles), center[1] + radius * np.sin(angles)], axis=1)


def circle(radius: float, *, center: tuple[float, float] = (0.0, 0.0), sides: int = 40) -> Points:
    """A circle as a polygon, (sides, 2) xy."""
    return regular_polygon(radius, sides, center=center)


def rectangle(x1: float, y1: float, x2: float, y2: float, *, corner: float = 0.0) -> Points:
    """A rectangle, (K, 2) xy, with its corners cut at 45 degrees by `corner` where that is above 0."""
    if corner <= 0:
        return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], dtype=np.float64)
    c = corner
    return np.array(
        [
            [x1 + c, y1],
            [x2 - c, y1],
            [x2, y1 + c],
            [x2, y2 - c],
            [x2 - c, y2],
            [x1 + c, y2],
            [x1, y2 - c],
            [x1, y1 + c],
        ],
        dtype=np.float64,
    )


def ribbon(path: Points, half_width: float | Points) -> Points:
    """The outline of a stroke along `path`, (K, 2) xy; `half_width` is one number or one for each point."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    offset = normal * np.reshape(half_width, (-1, 1))
    return np.concatenate([path + offset, (path - offset)[::-1]])


def smooth_path(anchors: Sequence[tuple[float, float]] | Points, num_points: int) -> Points:
    """A Catmull-Rom spline through `anchors`, (num_points, 2) xy."""
    knots = np.asarray(anchors, dtype=np.float64)
    padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    t = np.linspace(0, len(knots) - 1 - 1e-9, num_points)
    i, f = t.astype(int), (t % 1.0)[:, None]
    p0, p1, p2, p3 = padded[i], padded[i + 1], padded[i + 2], padded[i + 3]
    cubic = 2 * p0 - 5 * p1 + 4 * p2 - p3
    return np.asarray(
        0.5 * (2 * p1 + (p2 - p0) * f + cubic * f**2 + (3 * p1 - p0 - 3 * p2 + p3) * f**3), dtype=np.float64
    )


def similarity(*, scale: float, angle: float, x: float, y: float) -> Matrix:
    """The 3x3 matrix that scales, rotates by `angle` radians, and moves to (x, y)."""
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[c, -s, x], [s, c, y], [0.0, 0.0, 1.0]])


def tilt(width: int, height: int, *, pitch: float, yaw: float) -> Matrix:
    """The homography of a camera that looks at a plane slightly askew, about the image's centre.

    `pitch` and `yaw` are the relative change of depth from the centre to an edge: 0.1 makes things at one
    edge 10 % nearer and at the other 10 % farther.
    """
    cx, cy = width / 2, height / 2
    to_center = np.array([[1.0, 0.0, -cx], [0.0, 1.0, -cy], [0.0, 0.0, 1.0]])
    back = np.array([[1.0, 0.0, cx], [0.0, 1.0, cy], [0.0, 0.0, 1.0]])
    askew = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [yaw / cx, pitch / cy, 1.0]])
    return np.asarray(back @ askew @ to_center, dtype=np.float64)


def project(matrix: Matrix, points: Points) -> Points:
    """Map (K, 2) xy points by a 3x3 homography."""
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(mapped[:, :2] / mapped[:, 2:], dtype=np.float64)


def linearize(matrix: Matrix, point: tuple[float, float]) -> Matrix:
    """The affine 3x3 matrix that agrees with a homography, and with its slopes, at `point`."""
    x, y = point
    w = matrix[2] @ (x, y, 1.0)
    px, py = (matrix[:2] @ np.array([x, y, 1.0])) / w
    slope = (matrix[:2, :2] - np.outer((px, py), matrix[2, :2])) / w
    offset = np.array([px, py]) - slope @ (x, y)
    return np.block([[slope, offset[:, None]], [np.array([[0.0, 0.0, 1.0]])]])
