"""Colour spaces of selective search, all scaled to 0 to 255 (Uijlings et al. 2013, section 3.2)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

ColourSpace = Literal["hsv", "lab", "rgi", "hue", "intensity"]
Planes = npt.NDArray[np.float32]

# sRGB to XYZ under D65, rows already divided by the white point.
_TO_XYZ = np.array(
    [[0.433953, 0.376219, 0.189828], [0.212671, 0.715160, 0.072169], [0.017758, 0.109477, 0.872765]],
    np.float32,
)


def to_space(image: npt.NDArray[np.uint8], space: ColourSpace) -> Planes:
    """An RGB image, (H, W, 3), as (H, W, C) float32; `hue` and `intensity` have one channel.

    `hsv` is of 8 bits; `rgi` is red and green over the sum of all three, and intensity; `lab` is CIELAB, its
    colours shifted by 128.
    """
    match space:
        case "hsv":
            return _hsv(image)
        case "hue":
            return np.ascontiguousarray(_hsv(image)[..., :1])
        case "lab":
            return _lab(image)
        case "rgi":
            total = image.sum(axis=2, dtype=np.float32)
            shares = image[..., :2] / np.maximum(total, 1)[..., None]
            return np.asarray(np.dstack([shares * 255, total / 3]), np.float32)
        case "intensity":
            return np.asarray(image.mean(axis=2, dtype=np.float32, keepdims=True))


def _hsv(image: npt.NDArray[np.uint8]) -> Planes:
    return np.asarray(Image.fromarray(image).convert("HSV"), np.float32)


def _lab(image: npt.NDArray[np.uint8]) -> Planes:
    levels = np.arange(256, dtype=np.float32) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4).astype(np.float32)
    xyz = linear[image] @ _TO_XYZ.T
    f = np.where(xyz > 0.008856, np.cbrt(xyz), xyz * np.float32(7.787) + np.float32(16 / 116))
    lightness = (116 * f[..., 1] - 16) * np.float32(2.55)
    a = 500 * (f[..., 0] - f[..., 1]) + 128
    b = 200 * (f[..., 1] - f[..., 2]) + 128
    return np.asarray(np.clip(np.dstack([lightness, a, b]), 0, 255), np.float32)
