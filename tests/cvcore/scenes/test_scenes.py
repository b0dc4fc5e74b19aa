from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cvcore.scenes import PART_NAMES, Scene, SceneSpec, render_scene

SEEDS = (0, 5, 11, 1_000_003)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [render_scene(seed) for seed in SEEDS]


def test_same_seed_gives_same_bytes(scenes: list[Scene]) -> None:
    again = render_scene(SEEDS[0])
    assert again.image.tobytes() == scenes[0].image.tobytes()
    assert again.masks.tobytes() == scenes[0].masks.tobytes()
    assert again.jpeg_quality == scenes[0].jpeg_quality


def test_other_seeds_give_other_scenes(scenes: list[Scene]) -> None:
    assert len({scene.image.tobytes() for scene in scenes}) == len(SEEDS)


def test_boxes_are_the_tight_bounds_of_masks(scenes: list[Scene]) -> None:
    for scene in scenes:
        for box, mask in zip(scene.boxes, scene.masks, strict=True):
            rows, columns = np.nonzero(mask)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_visible_masks_are_disjoint(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.masks.sum(axis=0).max(initial=0) <= 1


def test_shapes_and_types(scenes: list[Scene]) -> None:
    for scene in scenes:
        height, width, _ = scene.image.shape
        n = len(scene.boxes)
        assert scene.image.dtype == np.uint8
        assert scene.boxes.dtype == np.float32
        assert scene.boxes.shape == (n, 4)
        assert scene.label_ids.dtype == np.int64
        assert scene.label_ids.shape == (n,)
        assert scene.masks.shape == (n, height, width)
        assert scene.label_ids.max(initial=0) < len(PART_NAMES)
        assert 480 - 1 <= max(height, width) <= 960


def test_a_mask_is_where_its_part_changes_the_picture() -> None:
    """Without blur and noise, hiding the parts changes the pixels inside the masks and few outside."""
    clean = SceneSpec(degrade=0.0, min_clutter=0, max_clutter=0, tilt=0.0)
    scene = render_scene(3, clean)
    inside = scene.masks.any(axis=0)
    assert 0.005 < inside.mean() < 0.6
    smooth = scene.image.astype(int).mean(axis=2)
    contrast = np.abs(np.diff(smooth, axis=1))
    edges = inside[:, 1:] != inside[:, :-1]
    assert contrast[edges].mean() > 3 * np.median(contrast[~inside[:, 1:] & ~edges])


def test_every_class_appears() -> None:
    seen = {int(k) for seed in range(12) for k in render_scene(seed, SceneSpec(max_side=480)).label_ids}
    assert seen == set(range(len(PART_NAMES)))


@pytest.mark.parametrize(
    "change",
    [
        {"min_parts": 9, "max_parts": 3},
        {"min_side": 10},
        {"min_size": 0.0},
        {"tilt": 0.9},
    ],
    ids=["more than most", "too narrow", "no size", "tilted away"],
)
def test_spec_refuses(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(change)).split("_")[-1]):
        dataclasses.replace(SceneSpec(), **change)


def test_hidden_parts_are_not_annotated() -> None:
    crowded = SceneSpec(
        min_parts=30, max_parts=30, max_overlap=1.0, min_size=0.25, max_size=0.25, min_visible=0.3
    )
    strict = dataclasses.replace(crowded, min_visible=0.95)
    assert len(render_scene(7, strict).boxes) < len(render_scene(7, crowded).boxes)


def test_nothing_to_lay_gives_an_empty_scene() -> None:
    scene = render_scene(1, SceneSpec(min_parts=0, max_parts=0))
    assert scene.boxes.shape == (0, 4)
    assert scene.masks.shape[0] == 0
