from __future__ import annotations

import numpy as np
import pytest
import torch

from cvcore.train.augment import AugmentOptions, View, augment, turned, zoomed

PLAIN = AugmentOptions(color=0.0)


def make_view(height: int = 60, width: int = 60) -> View:
    """Two bright rectangles on black, and their exact boxes."""
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    canvas[10:25, 5:30] = 200
    canvas[40:52, 35:50] = 255
    boxes = torch.tensor([[5.0, 10.0, 30.0, 25.0], [35.0, 40.0, 50.0, 52.0]])
    return View(canvas, boxes, torch.tensor([0, 1]))


def bounds(canvas: np.ndarray, low: int, high: int) -> list[float]:
    rows, columns = np.nonzero((canvas[..., 0] >= low) & (canvas[..., 0] <= high))
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_turning_carries_boxes_exactly(mirror: bool, quarters: int) -> None:
    view = turned(make_view(60, 64), mirror=mirror, quarters=quarters)
    assert view.boxes[0].tolist() == bounds(view.canvas, 200, 200)
    assert view.boxes[1].tolist() == bounds(view.canvas, 255, 255)


def test_four_quarters_are_none() -> None:
    view, start = turned(make_view(), mirror=False, quarters=4), make_view()
    assert np.array_equal(view.canvas, start.canvas)
    assert torch.equal(view.boxes, start.boxes)


@pytest.mark.parametrize(("zoom", "left", "top"), [(1.2, -5.0, -5.0), (0.7, 6.0, 3.0), (1.0, 0.0, 0.0)])
def test_zooming_carries_boxes_to_within_a_pixel(zoom: float, left: float, top: float) -> None:
    view = zoomed(make_view(), zoom, left=left, top=top, options=AugmentOptions(fill=0))
    for box, value in zip(view.boxes, (200, 255), strict=True):
        seen = bounds(view.canvas, value - 20, value)
        assert seen == pytest.approx(box.tolist(), abs=1.01)


def test_boxes_pushed_off_the_canvas_are_dropped() -> None:
    view = zoomed(make_view(), 1.0, left=-29.0, top=0.0, options=PLAIN)
    assert view.label_ids.tolist() == [1]
    assert view.boxes.tolist() == [[6.0, 40.0, 21.0, 52.0]]


def test_views_stay_on_the_canvas_and_follow_their_seed() -> None:
    for seed in range(30):
        view = augment(make_view(), AugmentOptions(), np.random.default_rng(seed))
        again = augment(make_view(), AugmentOptions(), np.random.default_rng(seed))
        assert np.array_equal(view.canvas, again.canvas)
        assert view.canvas.shape == (60, 60, 3)
        assert len(view.boxes) == len(view.label_ids)
        assert (view.boxes >= 0).all()
        assert (view.boxes <= 60).all()
        assert (view.boxes[:, 2:] > view.boxes[:, :2]).all()


def test_upright_things_are_never_turned() -> None:
    options = AugmentOptions(turn=False, min_zoom=1.0, max_zoom=1.0, color=0.0)
    for seed in range(10):
        view = augment(make_view(), options, np.random.default_rng(seed))
        assert view.boxes[:, 1].tolist() == [10.0, 40.0]


def test_an_image_without_objects() -> None:
    empty = View(np.zeros((32, 32, 3), dtype=np.uint8), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    view = augment(empty, AugmentOptions(), np.random.default_rng(0))
    assert view.boxes.shape == (0, 4)
