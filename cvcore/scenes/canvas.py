"""Painting things onto the belt, and keeping track of which of them each pixel shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from cvcore.scenes.geometry import Matrix, linearize, similarity
from cvcore.scenes.material import Float, Light, Material, machining, shade
from cvcore.scenes.parts import PartShape
from cvcore.scenes.raster import Patch, rasterize

BELT_ID, CLUTTER_ID = -1, -2


@dataclass(frozen=True, slots=True)
class Item:
    """Something to draw: its shape, material, pose in the belt's plane and class (or CLUTTER_ID)."""

    shape: PartShape
    material: Material
    pose: Matrix
    scale_px: float
    label_id: int


class Canvas:
    """The scene while it is painted: colours, and which item each pixel shows."""

    def __init__(self, surface: Float, camera: Matrix, light: Light) -> None:
        self.color = np.array(surface)
        self.owner: npt.NDArray[np.int16] = np.full(surface.shape[:2], BELT_ID, dtype=np.int16)
        self.camera = camera
        self.light = light

    def paint(self, item: Item, number: int, rng: np.random.Generator) -> float:
        """Draw `item` on top and mark its pixels with `number`; returns its whole area, pixels, unclipped."""
        to_image = self.camera @ item.pose
        rise = item.shape.thickness * item.scale_px
        margin = 4 + math.ceil(min(rise, 40.0) * 1.6)
        patch = rasterize(item.shape, to_image, pixels_per_unit=item.scale_px, margin=margin)
        area = float((patch.alpha >= 0.5).sum())
        window = self._window(patch)
        if window is None:
            return area
        self._cast_shadow(patch, rise, window)
        rows, columns = window
        inside = (
            slice(rows.start - patch.top, rows.stop - patch.top),
            slice(columns.start - patch.left, columns.stop - patch.left),
        )
        to_part = np.linalg.inv(linearize(to_image, (0.0, 0.0))) @ similarity(
            scale=1.0, angle=0.0, x=columns.start, y=rows.start
        )
        alpha = patch.alpha[inside]
        marks = machining(alpha.shape, to_part, item.shape.finish, rng)
        color = shade(
            patch.height_px[inside], patch.albedo[inside], marks, material=item.material, light=self.light
        )
        under = self.color[rows, columns]
        self.color[rows, columns] = under + alpha[..., None] * (color - under)
        self.owner[rows, columns][alpha >= 0.5] = number
        return area

    def _window(self, patch: Patch) -> tuple[slice, slice] | None:
        """The part of the image that `patch` covers, or None if it lies outside."""
        height, width = self.owner.shape
        h, w = patch.alpha.shape
        top, bottom = max(0, patch.top), min(height, patch.top + h)
        left, right = max(0, patch.left), min(width, patch.left + w)
        if bottom - top < 2 or right - left < 2:
            return None
        return slice(top, bottom), slice(left, right)

    def _cast_shadow(self, patch: Patch, rise: float, window: tuple[slice, slice]) -> None:
        """Darken what lies under and behind the part, away from the light."""
        lx, ly, lz = self.light.direction
        reach = min(rise, 40.0) / max(lz, 0.4) * 0.8
        solid = Image.fromarray((patch.alpha * 255).astype(np.uint8))
        shift = (1, 0, lx * reach, 0, 1, ly * reach)
        cast = solid.transform(solid.size, Image.Transform.AFFINE, shift, Image.Resampling.BILINEAR)
        cast = cast.filter(ImageFilter.BoxBlur(1 + reach * 0.22))
        contact = solid.filter(ImageFilter.BoxBlur(2.0))
        rows, columns = window
        inside = (
            slice(rows.start - patch.top, rows.stop - patch.top),
            slice(columns.start - patch.left, columns.stop - patch.left),
        )
        scale = np.float32(self.light.shadow / 255)
        dark = (1 - scale * np.asarray(cast, dtype=np.float32)[inside]) * (
            1 - np.float32(0.5 / 255) * np.asarray(contact, dtype=np.float32)[inside]
        )
        self.color[rows, columns] *= dark[..., None]
