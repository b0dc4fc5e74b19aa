"""Compose a scene: parts and clutter on a belt, with exact masks, boxes and classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cvcore.scenes.belt import random_belt, render_belt
from cvcore.scenes.canvas import CLUTTER_ID, Canvas, Item
from cvcore.scenes.geometry import project, tilt
from cvcore.scenes.lens import expose, random_lens
from cvcore.scenes.material import random_light
from cvcore.scenes.placement import DEFAULT_SPEC, SceneSpec, mixed, place_clutter, place_parts


@dataclass(frozen=True, slots=True)
class Scene:
    """A rendered scene.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) float32, xyxy, pixels: the tight bounds of `masks`.
        label_ids: (N,) int64, indices into PART_NAMES.
        masks: (N, H, W) bool, the visible pixels of each part.
        jpeg_quality: at which `write_scenes` stores the image.
    """

    image: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.float32]
    label_ids: npt.NDArray[np.int64]
    masks: npt.NDArray[np.bool_]
    jpeg_quality: int


def _random_image_size(rng: np.random.Generator, spec: SceneSpec) -> tuple[int, int]:
    """Height and width, even numbers of pixels, in one of the usual aspects."""
    longer = int(rng.integers(spec.min_side, spec.max_side + 1)) // 2 * 2
    aspect = float(rng.choice(np.array([4 / 3, 3 / 2, 16 / 10, 16 / 9, 1.0, 3 / 4], dtype=np.float64)))
    shorter = round(longer / max(aspect, 1 / aspect) / 2) * 2
    return (longer, shorter) if aspect < 1 else (shorter, longer)


def render_scene(seed: int, spec: SceneSpec = DEFAULT_SPEC) -> Scene:
    """Render the scene of `seed`: the same seed and spec always give the same bytes.

    Args:
        seed: any integer from 0 up.
        spec: the settings.
    """
    rng = np.random.default_rng(seed)
    height, width = _random_image_size(rng, spec)
    belt, light = random_belt(rng), random_light(rng)
    lens = random_lens(rng, belt_angle=belt.angle, strength=spec.degrade)
    pitch, yaw = rng.uniform(-spec.tilt, spec.tilt, 2).tolist()
    camera = tilt(width, height, pitch=pitch, yaw=yaw)
    items = mixed(rng, place_parts(rng, spec, height, width), place_clutter(rng, spec, height, width))
    canvas = Canvas(render_belt(belt, height, width, camera, rng), camera, light)
    areas = [canvas.paint(item, number, rng) for number, item in enumerate(items)]
    image = expose(canvas.color, lens, rng)
    quality = int(rng.integers(55, 96))
    boxes, label_ids, masks = _annotate(canvas, items, areas, spec.min_visible)
    return Scene(image, boxes, label_ids, masks, quality)


def _annotate(
    canvas: Canvas, items: list[Item], areas: list[float], min_visible: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Boxes, classes and masks of the parts of which enough is seen."""
    height, width = canvas.owner.shape
    boxes, label_ids, masks = [], [], []
    seen = np.bincount(canvas.owner[canvas.owner >= 0].ravel(), minlength=len(items))
    for number, (item, area) in enumerate(zip(items, areas, strict=True)):
        if item.label_id == CLUTTER_ID or seen[number] < max(16.0, min_visible * area):
            continue
        x, y = project(canvas.camera, item.pose[:2, 2][None])[0]
        reach = math.ceil(item.scale_px * 1.2) + 4
        top, left = max(0, int(y) - reach), max(0, int(x) - reach)
        window = canvas.owner[top : int(y) + reach, left : int(x) + reach] == number
        rows, columns = np.flatnonzero(window.any(axis=1)), np.flatnonzero(window.any(axis=0))
        boxes.append([left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1])
        mask = np.zeros((height, width), dtype=np.bool_)
        mask[top : top + window.shape[0], left : left + window.shape[1]] = window
        masks.append(mask)
        label_ids.append(item.label_id)
    return (
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array(label_ids, dtype=np.int64),
        np.stack(masks) if masks else np.zeros((0, height, width), dtype=np.bool_),
    )
