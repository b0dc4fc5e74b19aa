"""Outlines and brushes of masks: there and back without loss."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cvcore.ops.label_studio_rle import decode_brush, encode_brush
from cvcore.ops.masks import decode_rle, draw_polygons
from cvcore.ops.outlines import fill_polygon, joined_outline, mask_polygons, mask_rings
from tests.references import reference


def mask_of(*lines: str) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    return np.array([[char == "x" for char in line] for line in lines])


MASKS = {
    "one pixel": mask_of("...", ".x.", "..."),
    "whole": mask_of("xxx", "xxx"),
    "hole": mask_of("xxxx", "x..x", "x..x", "xxxx"),
    "two pieces": mask_of("xx..", "....", "..xx"),
    "corners touch": mask_of("x.", ".x"),
    "hole touches a corner": mask_of("xxx.", "x.xx", "xxxx"),
    "piece in a hole": mask_of("xxxxx", "x...x", "x.x.x", "x...x", "xxxxx"),
    "nothing": mask_of("...", "..."),
}


def filled(mask: np.ndarray[tuple[int, int], np.dtype[np.bool_]], *, digits: int | None = None) -> object:
    outline = joined_outline(mask)
    if digits is not None:
        height, width = mask.shape
        outline = [(round(x / width, digits) * width, round(y / height, digits) * height) for x, y in outline]
    return fill_polygon(outline, height=mask.shape[0], width=mask.shape[1]) if outline else mask & False


@pytest.mark.parametrize("name", MASKS)
def test_a_polygon_of_a_mask_fills_it(name: str) -> None:
    np.testing.assert_array_equal(filled(MASKS[name]), MASKS[name])


@pytest.mark.parametrize("seed", range(20))
def test_of_noise_too_and_in_rounded_shares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((rng.integers(1, 40), rng.integers(1, 40))) < rng.random()
    np.testing.assert_array_equal(filled(mask), mask)
    np.testing.assert_array_equal(filled(mask, digits=10), mask)


def test_a_rectangle_has_four_corners() -> None:
    (ring,) = mask_rings(mask_of("....", ".xx.", ".xx."))
    assert (ring.points, ring.piece, ring.hole) == ([(1, 1), (3, 1), (3, 3), (1, 3)], 0, False)


@pytest.mark.parametrize("seed", range(20))
def test_rings_go_around_pieces_clockwise_and_around_holes_the_other_way(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((rng.integers(1, 30), rng.integers(1, 30))) < rng.random()
    pieces, count = ndimage.label(mask)
    rings = mask_rings(mask)
    assert [ring.piece for ring in rings if not ring.hole] == [*range(count)]
    for ring in rings:
        x, y = np.array(ring.points).T
        area = (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2
        assert (area > 0) != ring.hole
        inside = fill_polygon(ring.points, height=mask.shape[0], width=mask.shape[1])
        if not ring.hole:
            assert (mask & inside)[pieces == ring.piece + 1].all()


@pytest.mark.parametrize("seed", range(20))
def test_polygons_are_the_mask_to_pycocotools_too(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = map(int, rng.integers(1, 40, 2))
    mask = rng.random((height, width)) < rng.random()
    flat = [[value for point in polygon for value in point] for polygon in mask_polygons(mask)]
    drawn = draw_polygons(flat, height=height, width=width) if flat else None
    found = mask & False if drawn is None else decode_rle(drawn, height=height, width=width)
    np.testing.assert_array_equal(found, mask)


@pytest.mark.parametrize("points", [[(0.2, 0.2), (2.4, 0.3), (1.1, 2.9)]], ids=["triangle"])
def test_a_pixel_is_in_where_its_centre_is(points: list[tuple[float, float]]) -> None:
    expected = np.zeros((4, 4), bool)
    (ax, ay), (bx, by), (cx, cy) = points
    for y in range(4):
        for x in range(4):
            px, py = x + 0.5, y + 0.5
            sides = [
                (bx - ax) * (py - ay) - (by - ay) * (px - ax),
                (cx - bx) * (py - by) - (cy - by) * (px - bx),
                (ax - cx) * (py - cy) - (ay - cy) * (px - cx),
            ]
            expected[y, x] = min(sides) > 0
    assert expected.any()
    np.testing.assert_array_equal(fill_polygon(points, height=4, width=4), expected)


@pytest.mark.parametrize("name", MASKS)
def test_brushes_come_back(name: str) -> None:
    mask = MASKS[name]
    height, width = mask.shape
    np.testing.assert_array_equal(decode_brush(encode_brush(mask), height=height, width=width), mask)


def test_a_run_longer_than_a_count_can_say() -> None:
    mask = np.ones((300, 400), bool)
    mask[299, 399] = False
    np.testing.assert_array_equal(decode_brush(encode_brush(mask), height=300, width=400), mask)


@pytest.mark.parametrize("seed", range(5))
def test_label_studio_s_own_converter_reads_and_writes_the_same(seed: int) -> None:
    brush = reference("label_studio_sdk.converter.brush")
    rng = np.random.default_rng(seed)
    mask = rng.random((17, 23)) < 0.4
    theirs = np.array(brush.decode_rle(encode_brush(mask))).reshape(17, 23, 4)
    np.testing.assert_array_equal(theirs[..., 3] == 255, mask)
    code = brush.encode_rle(np.repeat(mask.astype(np.uint8) * 255, 4).tolist())
    np.testing.assert_array_equal(decode_brush(code, height=17, width=23), mask)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        pytest.param([1, 2, 300], "list of bytes", id="no byte"),
        pytest.param(encode_brush(np.ones((2, 2), bool))[:-1], "ends early", id="cut"),
        pytest.param(encode_brush(np.ones((2, 3), bool)), "2 x 2 pixels", id="another size"),
    ],
)
def test_what_is_no_brush(code: list[int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decode_brush(code, height=2, width=2)
