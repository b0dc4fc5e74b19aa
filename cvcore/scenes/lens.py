"""What lens, sensor and exposure do to a scene: falloff, colour cast, blur, noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from cvcore.scenes.material import Float

Pixel = TypeVar("Pixel", np.uint8, np.float32)


@dataclass(frozen=True, slots=True)
class Lens:
    """One exposure.

    Attributes:
        cast: RGB gains.
        gradient: relative brightness change from the centre to an edge, (x, y).
        vignette: relative darkening of the corners, 0 to 1.
        gamma: exponent of the tone curve; below 1 brightens.
        defocus_px: radius of the Gaussian blur.
        motion_px: length of the motion blur; 0 or 1 for none.
        motion_angle: its direction, radians.
        noise: standard deviation of the sensor's noise, 0 to 1 gray.
    """

    cast: tuple[float, float, float]
    gradient: tuple[float, float]
    vignette: float
    gamma: float
    defocus_px: float
    motion_px: float
    motion_angle: float
    noise: float


def random_lens(rng: np.random.Generator, *, belt_angle: float, strength: float) -> Lens:
    """A plausible exposure; `strength` scales blur, noise and cast, 0 to 1 and beyond."""
    red, green, blue = np.exp(rng.normal(0, 0.07 * strength, 3)).tolist()
    moving = rng.random() < 0.2
    return Lens(
        cast=(red, green, blue),
        gradient=(rng.uniform(-0.3, 0.3), rng.uniform(-0.3, 0.3)),
        vignette=rng.uniform(0, 0.35),
        gamma=rng.uniform(0.6, 0.95),
        defocus_px=rng.uniform(0.3, 1.3) * strength,
        motion_px=rng.uniform(2, 6) * strength if moving else 0.0,
        motion_angle=belt_angle,
        noise=rng.uniform(0.004, 0.03) * strength,
    )


def _falloff(height: int, width: int, lens: Lens) -> Float:
    """Brightness over the image, (height, width) float32."""
    xs = np.linspace(-1, 1, width, dtype=np.float32)[None]
    ys = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    slope = 1 + np.float32(lens.gradient[0]) * xs + np.float32(lens.gradient[1]) * ys
    return np.asarray(slope * (1 - np.float32(lens.vignette / 2) * (xs * xs + ys * ys)), dtype=np.float32)


def _tone_curve(gamma: float) -> list[int]:
    """A table of 256 levels: a power law with a soft shoulder."""
    levels = np.linspace(0, 1, 256) ** gamma
    curve = levels * (1.06 - 0.06 * levels)
    return [round(value) for value in (np.clip(curve, 0, 1) * 255).tolist()]


def expose(scene: Float, lens: Lens, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Photograph `scene`, (H, W, 3) float32 RGB about 0 to 1: (H, W, 3) uint8."""
    height, width = scene.shape[:2]
    gains = _falloff(height, width, lens)[..., None] * np.array(lens.cast, dtype=np.float32)
    levels = np.clip(scene * (gains * np.float32(255)), 0, 255).astype(np.uint8)
    image = Image.fromarray(levels).point(_tone_curve(lens.gamma) * 3)
    if lens.defocus_px > 0.2:
        image = image.filter(ImageFilter.GaussianBlur(lens.defocus_px))
    pixels = np.asarray(image)
    if lens.motion_px > 1:
        pixels = _smear(pixels, lens)
    return _add_noise(pixels, lens.noise, rng)


def _add_noise(
    pixels: npt.NDArray[np.uint8], deviation: float, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Add Gaussian noise. The channels share one field, shifted far apart: as good as three, in a third."""
    height, width = pixels.shape[:2]
    field = (rng.standard_normal((height, width), dtype=np.float32) * np.float32(deviation * 255)).round()
    levels = field.astype(np.int16)
    noisy = pixels.astype(np.int16)
    for channel in range(3):
        noisy[..., channel] += np.roll(levels, (channel * height // 3, channel * width // 3), axis=(0, 1))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _smear(pixels: npt.NDArray[np.uint8], lens: Lens) -> npt.NDArray[np.uint8]:
    """Average copies shifted along the motion, centred, so that outlines stay where the masks say."""
    total, steps = np.zeros(pixels.shape, dtype=np.uint16), max(2, round(lens.motion_px))
    for copy in _shifted(pixels, steps, lens.motion_px, lens.motion_angle):
        total += copy
    return (total // steps).astype(np.uint8)


def smear(scene: Float, motion_px: float, angle: float) -> Float:
    """Blur what moves by `motion_px` in the direction `angle`, radians, while the shutter is open.

    The scene, (H, W, 3) float32, is not exposed yet: what stands still can be painted over the result.
    """
    if motion_px <= 1:
        return scene
    total, steps = np.zeros(scene.shape, dtype=np.float32), max(2, round(motion_px))
    for copy in _shifted(scene, steps, motion_px, angle):
        total += copy
    return np.asarray(total * np.float32(1 / steps), dtype=np.float32)


def _shifted(
    pixels: npt.NDArray[Pixel], steps: int, motion_px: float, angle: float
) -> Iterator[npt.NDArray[Pixel]]:
    """`steps` copies of (H, W, 3) pixels, shifted evenly along the motion, about the middle."""
    reach = steps
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    height, width = pixels.shape[:2]
    for t in np.linspace(-0.5, 0.5, steps):
        dx = reach + round(t * motion_px * math.cos(angle))
        dy = reach + round(t * motion_px * math.sin(angle))
        yield padded[dy : dy + height, dx : dx + width]
