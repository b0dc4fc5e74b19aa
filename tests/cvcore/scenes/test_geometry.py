from __future__ import annotations

import numpy as np
import pytest

from cvcore.scenes.geometry import linearize, project, similarity, smooth_path, tilt


def test_tilt_fixes_the_centre_and_moves_edges_by_depth() -> None:
    camera = tilt(200, 100, pitch=0.0, yaw=0.1)
    points = project(camera, np.array([[100.0, 50.0], [200.0, 50.0], [0.0, 50.0]]))
    assert points[0] == pytest.approx([100, 50])
    assert points[1] == pytest.approx([100 + 100 / 1.1, 50])
    assert points[2] == pytest.approx([100 - 100 / 0.9, 50])


def test_linearize_agrees_with_the_homography_and_its_slope() -> None:
    matrix = tilt(300, 200, pitch=0.08, yaw=-0.1) @ similarity(scale=40, angle=0.7, x=90, y=120)
    affine = linearize(matrix, (0.2, -0.1))
    near = np.array([[0.2, -0.1], [0.2 + 1e-5, -0.1], [0.2, -0.1 + 1e-5]])
    assert project(affine, near) == pytest.approx(project(matrix, near), abs=1e-7)


def test_smooth_path_passes_through_its_anchors() -> None:
    anchors = np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0]])
    path = smooth_path(anchors, 201)
    for anchor in anchors:
        assert np.linalg.norm(path - anchor, axis=1).min() < 1e-6
