"""Masks as run lengths, beside pycocotools."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pycocotools import mask as coco_mask

from cvcore.ops.masks import (
    decode_rle,
    draw_polygons,
    encode_rle,
    mask_area,
    mask_box,
    mask_iou,
    segmentation_rle,
)

Masks = npt.NDArray[np.bool_]


def some_masks(seed: int) -> Masks:
    """Noise, pieces, nothing and everything, of any size from 1 x 1."""
    rng = np.random.default_rng(seed)
    num, height, width = map(int, rng.integers(1, (6, 70, 70)))
    masks: Masks = rng.random((num, height, width)) < rng.random()
    if seed % 3 == 0:
        rows, columns = np.mgrid[:height, :width]
        centres = rng.uniform(0, (height, width), (num, 2))
        radii = rng.uniform(1, 20, num)
        masks = np.stack(
            [np.hypot(rows - y, columns - x) < r for (y, x), r in zip(centres, radii, strict=True)]
        )
    if seed % 10 == 0:
        masks[:] = seed % 20 == 0
    return masks


def theirs(masks: Masks) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = coco_mask.encode(
        np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8))
    )
    return found


@pytest.mark.parametrize("seed", range(60))
def test_masks_are_encoded_to_the_same_bytes_and_come_back(seed: int) -> None:
    masks = some_masks(seed)
    _, height, width = masks.shape
    for ours, other, mask in zip(encode_rle(masks), theirs(masks), masks, strict=True):
        assert ours == {"size": other["size"], "counts": other["counts"].decode()}
        np.testing.assert_array_equal(decode_rle(ours, height=height, width=width), mask)
        np.testing.assert_array_equal(coco_mask.decode(other), decode_rle(other, height=height, width=width))


def test_runs_of_many_digits() -> None:
    masks = np.zeros((2, 3000, 2000), bool)
    masks[0, 2999, 1999] = masks[1, 1500:, 1000:] = True
    for ours, other in zip(encode_rle(masks), theirs(masks), strict=True):
        assert ours["counts"] == other["counts"].decode()
        assert mask_area(ours) == coco_mask.area(other)


def test_of_no_mask_there_is_none() -> None:
    assert encode_rle(np.zeros((0, 4, 5), bool)) == []


@pytest.mark.parametrize("seed", range(60))
def test_areas_boxes_and_overlaps_are_those_of_pycocotools(seed: int) -> None:
    masks = some_masks(seed)
    ours, others = encode_rle(masks), theirs(masks)
    assert [*map(mask_area, ours)] == coco_mask.area(others).tolist()
    for rle, (x, y, w, h), mask in zip(ours, coco_mask.toBbox(others).tolist(), masks, strict=True):
        assert mask_box(rle) == ((x, y, x + w, y + h) if mask.any() else None)
    crowd = [k % 2 == 1 for k in range(len(ours))]
    np.testing.assert_array_equal(mask_iou(ours, ours, crowd), coco_mask.iou(others, others, crowd))


def test_overlaps_of_nothing() -> None:
    (rle,) = encode_rle(np.ones((1, 2, 2), bool))
    assert mask_iou([], [rle]).shape == (0, 1)
    assert mask_iou([rle], []).shape == (1, 0)


def test_all_forms_of_a_segmentation_are_one() -> None:
    square = [1, 1, 4, 1, 4, 3, 1, 3]
    mask = np.zeros((5, 6), bool)
    mask[1:3, 1:4] = True
    expected = encode_rle(mask[None])[0]
    lengths = {"size": [5, 6], "counts": [6, 2, 3, 2, 3, 2, 12]}
    for form in ([square], lengths, expected, {**expected, "counts": expected["counts"].encode()}):
        assert segmentation_rle(form, height=5, width=6) == expected
    two = segmentation_rle([square, [0, 0, 1, 0, 1, 1, 0, 1]], height=5, width=6)
    assert mask_area(two) == 7


@pytest.mark.parametrize(
    ("form", "words"),
    [
        pytest.param({"size": [5, 6], "counts": "511"}, "do not cover", id="runs too short"),
        pytest.param({"size": [5, 6], "counts": [0, 31]}, "do not cover", id="runs too long"),
        pytest.param({"size": [5, 6], "counts": [40, -10]}, "negative", id="a run of negative length"),
        pytest.param({"size": [5, 6], "counts": "\x7f"}, "other characters", id="no such character"),
        pytest.param({"size": [5, 6], "counts": "P"}, "ends early", id="text that ends early"),
        pytest.param({"size": [5, 6], "counts": "P" * 20 + "0"}, "too long", id="a number too long"),
        pytest.param({"size": [5, 6], "counts": "é"}, "do not cover|other characters", id="not ASCII"),
        pytest.param({"size": [5, 6], "counts": [1.5, 28.5]}, "whole numbers", id="no whole numbers"),
        pytest.param({"size": [5, 6]}, "text or whole numbers", id="no counts"),
        pytest.param({"size": [6, 5], "counts": [30]}, "of 5 x 6 pixels is needed", id="another size"),
        pytest.param({"size": "5x6", "counts": [30]}, "size is", id="no size"),
        pytest.param([], "polygons", id="no polygon"),
        pytest.param([[1, 1, 2, 2]], "three points", id="two points"),
        pytest.param([[1, 1, 2, 2, 3]], "three points", id="half a point"),
        pytest.param([[1, 1, 2, float("nan"), 3, 3]], "three points", id="not a number"),
        pytest.param([["a"] * 6], "lists of numbers", id="texts"),
        pytest.param(7, "lists of numbers", id="a number"),
    ],
)
def test_what_is_no_segmentation(form: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        segmentation_rle(form, height=5, width=6)


def test_polygons_are_drawn_by_pycocotools() -> None:
    points = [0.3, 0.2, 17.6, 3.1, 9.2, 14.9]
    expected = coco_mask.decode(coco_mask.frPyObjects([points], 16, 20))[..., 0]
    found = decode_rle(draw_polygons([points], height=16, width=20), height=16, width=20)
    np.testing.assert_array_equal(found, expected)
