"""Draw a part's layers into a small patch of the image: coverage, height and albedo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from cvcore.scenes.geometry import Matrix, project
from cvcore.scenes.material import Float, blur3
from cvcore.scenes.parts import PartShape

SUPERSAMPLE = 2


@dataclass(frozen=True, slots=True)
class Patch:
    """A part as rasterised, before it is clipped to the image.

    Attributes:
        left, top: of the patch in the image, pixels; may be negative.
        alpha: (h, w) float32 coverage, 0 to 1.
        height_px: (h, w) float32 surface above the belt, pixels.
        albedo: (h, w) float32.
    """

    left: int
    top: int
    alpha: Float
    height_px: Float
    albedo: Float


def _reduce(fine: npt.NDArray[np.float32]) -> Float:
    """Average blocks of SUPERSAMPLE x SUPERSAMPLE."""
    rows = fine[0::2] + fine[1::2]
    return np.asarray((rows[:, 0::2] + rows[:, 1::2]) * np.float32(0.25), dtype=np.float32)


def rasterize(shape: PartShape, to_image: Matrix, *, pixels_per_unit: float, margin: int) -> Patch:
    """Draw `shape`, mapped by the 3x3 homography `to_image`, with a border of `margin` pixels around it."""
    outlines = [project(to_image, layer.outline) for layer in shape.layers]
    corners = np.concatenate([o for o, layer in zip(outlines, shape.layers, strict=True) if not layer.hole])
    left, top = (np.floor(corners.min(axis=0)) - margin).astype(int)
    right, bottom = (np.ceil(corners.max(axis=0)) + margin).astype(int)
    size = ((right - left) * SUPERSAMPLE, (bottom - top) * SUPERSAMPLE)
    index = Image.new("L", size)
    draw = ImageDraw.Draw(index)
    for number, (outline, layer) in enumerate(zip(outlines, shape.layers, strict=True), start=1):
        # Pillow's pixel centres lie at whole numbers, hence the half.
        fine = (outline - (left, top)) * SUPERSAMPLE - 0.5
        draw.polygon([(x, y) for x, y in fine.tolist()], fill=0 if layer.hole else number)
    drawn = np.asarray(index)
    covers = np.ones(256, dtype=np.float32)
    covers[0] = 0
    heights, albedos = np.zeros(256, dtype=np.float32), np.ones(256, dtype=np.float32)
    for number, layer in enumerate(shape.layers, start=1):
        heights[number], albedos[number] = layer.height * pixels_per_unit, layer.albedo
    alpha = _reduce(covers[drawn])
    height = blur3(blur3(_reduce(heights[drawn])))
    return Patch(int(left), int(top), alpha, height, _reduce(albedos[drawn]))
