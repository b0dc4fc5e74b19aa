"""Selective search: what it finds, in what order, and what it is asked for."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cvcore.metrics.proposals import best_overlaps
from cvcore.propose.options import STRATEGIES, SelectiveSearchOptions
from cvcore.propose.selective_search import selective_search
from cvcore.scenes.scene import render_scene
from tests.data import ROOT

SCENE = render_scene(11)
RECTANGLES = np.array([[20, 30, 80, 70], [100, 20, 150, 110], [30, 100, 70, 150]], np.float32)


def planted() -> np.ndarray:
    """Rectangles of one colour each on noisy gray."""
    rng = np.random.default_rng(0)
    image = np.full((170, 180, 3), 110.0)
    colours = ((200, 40, 40), (30, 60, 210), (240, 220, 60))
    for (x0, y0, x1, y1), colour in zip(RECTANGLES.astype(int), colours, strict=True):
        image[y0:y1, x0:x1] = colour
    return np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def rows(boxes: np.ndarray) -> set[tuple[float, ...]]:
    return set(map(tuple, boxes.tolist()))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_planted_rectangles_are_found(strategy: str) -> None:
    boxes = selective_search(planted(), SelectiveSearchOptions(strategy=strategy))
    assert best_overlaps(boxes, RECTANGLES).min() > 0.8


@pytest.mark.parametrize("max_side", [None, 200])
def test_boxes_are_valid_and_none_is_there_twice(max_side: int | None) -> None:
    height, width = SCENE.image.shape[:2]
    boxes = selective_search(SCENE.image, SelectiveSearchOptions(max_boxes=None, max_side=max_side))
    assert boxes.dtype == np.float32
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= [width, height]).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 1).all()
    assert len(rows(boxes)) == len(boxes)
    assert (0, 0, width, height) in rows(boxes)


def test_the_same_seed_gives_the_same_boxes_and_another_another_order() -> None:
    def search(seed: int) -> np.ndarray:
        return selective_search(SCENE.image, SelectiveSearchOptions(max_boxes=None, max_side=200, seed=seed))

    first = search(1)
    np.testing.assert_array_equal(first, search(1))
    other = search(2)
    assert rows(first) == rows(other)
    assert first.tolist() != other.tolist()


def test_fewer_boxes_are_the_best_of_more() -> None:
    all_boxes = selective_search(SCENE.image, SelectiveSearchOptions(max_boxes=None, max_side=200))
    few = selective_search(SCENE.image, SelectiveSearchOptions(max_boxes=30, max_side=200))
    np.testing.assert_array_equal(few, all_boxes[:30])


def test_richer_strategies_hold_what_poorer_ones_find() -> None:
    found = [
        rows(selective_search(planted(), SelectiveSearchOptions(strategy=name, max_boxes=None)))
        for name in STRATEGIES
    ]
    assert found[0] <= found[1] <= found[2]
    assert len(found[0]) < len(found[1]) < len(found[2])


def test_small_boxes_are_dropped_by_the_images_own_pixels() -> None:
    options = SelectiveSearchOptions(max_boxes=None, max_side=200)
    sides = np.array([min(x1 - x0, y1 - y0) for x0, y0, x1, y1 in selective_search(SCENE.image, options)])
    wanted = SelectiveSearchOptions(max_boxes=None, max_side=200, min_side_px=40)
    left = selective_search(SCENE.image, wanted)
    assert len(left) == (sides >= 40).sum() < len(sides)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 40), (40, 1), (37, 53)], ids=["one pixel", "row", "column", "even"]
)
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_uniform_image_is_one_box(shape: tuple[int, int], level: int) -> None:
    boxes = selective_search(np.full((*shape, 3), level, np.uint8))
    assert boxes.tolist() == [[0, 0, shape[1], shape[0]]]


def test_a_uniform_image_smaller_than_the_least_side_has_no_box() -> None:
    boxes = selective_search(np.zeros((8, 8, 3), np.uint8), SelectiveSearchOptions(min_side_px=9))
    assert boxes.shape == (0, 4)


def test_gray_images_are_searched() -> None:
    gray = np.repeat(planted().mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    assert best_overlaps(selective_search(gray), RECTANGLES).min() > 0.8


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)],
    ids=["no channels", "floats", "empty"],
)
def test_what_is_no_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8"):
        selective_search(image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "quick"}, "single, fast, quality, got 'quick'"),
        ({"max_boxes": 0}, "max_boxes must be at least 1"),
        ({"max_side": 0}, "max_side must be at least 1"),
        ({"sigma": float("nan")}, "sigma must not be negative"),
        ({"seed": -1}, "seed must not be negative"),
    ],
)
def test_options_that_cannot_be(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SelectiveSearchOptions(**options)


def test_numba_is_not_imported_before_it_is_used() -> None:
    code = (
        "import sys, cvcore.propose.selective_search, cvcore.propose.proposer; print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
