"""Materials and light: from a height field to colours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from cvcore.scenes.geometry import Matrix

Float = npt.NDArray[np.float32]
Finish = Literal["brushed", "turned", "cast"]


@dataclass(frozen=True, slots=True)
class Material:
    """How a surface answers light.

    Attributes:
        color: linear-ish RGB, 0 to 1.
        mirror: share of the reflected surroundings, 0 (matt) to 1 (polished).
        gloss: exponent of the highlight.
        grain: contrast of the machining marks.
    """

    color: tuple[float, float, float]
    mirror: float
    gloss: float
    grain: float


METALS: tuple[Material, ...] = (
    Material((0.60, 0.61, 0.63), 0.55, 40.0, 0.10),
    Material((0.70, 0.70, 0.69), 0.70, 70.0, 0.06),
    Material((0.47, 0.48, 0.51), 0.40, 22.0, 0.14),
    Material((0.67, 0.57, 0.36), 0.50, 45.0, 0.09),
    Material((0.60, 0.58, 0.46), 0.45, 30.0, 0.10),
    Material((0.20, 0.20, 0.22), 0.35, 18.0, 0.08),
    Material((0.52, 0.40, 0.33), 0.30, 16.0, 0.16),
)
RUBBER = Material((0.10, 0.10, 0.11), 0.06, 12.0, 0.04)
PAPER = Material((0.80, 0.79, 0.74), 0.0, 4.0, 0.03)


@dataclass(frozen=True, slots=True)
class Light:
    """The scene's lamp and its surroundings.

    Attributes:
        direction: unit vector towards the lamp, image axes, z towards the camera.
        ambient: share of light from everywhere, 0 to 1.
        phase: angles, radians, that place the bright and dark areas mirrored by metal.
        shadow: darkness of the drop shadows, 0 to 1.
    """

    direction: tuple[float, float, float]
    ambient: float
    phase: tuple[float, float]
    shadow: float


def random_light(rng: np.random.Generator) -> Light:
    """A lamp from any side, 35 to 70 degrees above the belt."""
    azimuth, elevation = rng.uniform(0, 2 * math.pi), rng.uniform(0.6, 1.22)
    direction = (
        math.cos(elevation) * math.cos(azimuth),
        math.cos(elevation) * math.sin(azimuth),
        math.sin(elevation),
    )
    phase = (rng.uniform(0, 2 * math.pi), rng.uniform(0, 2 * math.pi))
    return Light(direction, rng.uniform(0.25, 0.5), phase, rng.uniform(0.35, 0.75))


def blur3(field: Float) -> Float:
    """A 3x3 binomial blur with replicated borders, (H, W) float32."""
    padded = np.pad(field, 1, mode="edge")
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    return np.asarray((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) * np.float32(1 / 16), dtype=np.float32)


def machining(shape: tuple[int, int], to_part: Matrix, finish: Finish, rng: np.random.Generator) -> Float:
    """Machining marks, (H, W) float32 about 0: straight, circular or granular in the part's own plane.

    `to_part` is the affine map from the patch's pixels to part units.
    """
    height, width = shape
    if finish == "cast":
        coarse = rng.standard_normal((height // 2 + 1, width // 2 + 1), dtype=np.float32)
        return blur3(np.repeat(np.repeat(coarse, 2, 0), 2, 1)[:height, :width]) * np.float32(1.5)
    a = to_part.astype(np.float32)
    ys, xs = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None]
    v = a[1, 0] * xs + a[1, 1] * ys + a[1, 2]
    marks = rng.standard_normal(256, dtype=np.float32)
    marks = (0.25 * np.roll(marks, 1) + 0.5 * marks + 0.25 * np.roll(marks, -1)).astype(np.float32)
    if finish == "brushed":
        return np.asarray(marks[(v * 130).astype(np.int32) & 255], dtype=np.float32)
    u = a[0, 0] * xs + a[0, 1] * ys + a[0, 2]
    square = u * u + v * v
    rings = marks[(np.sqrt(square) * 170).astype(np.int32) & 255]
    turn = np.float32(rng.uniform(0, 2 * math.pi))
    bow = ((u * u - v * v) * np.cos(turn) + 2 * u * v * np.sin(turn)) / (square + np.float32(1e-4))
    return np.asarray(rings * np.float32(0.6) + 2.2 * bow, dtype=np.float32)


def shade(height_px: Float, albedo: Float, marks: Float, *, material: Material, light: Light) -> Float:
    """Light a height field: Lambert's law, a Blinn-Phong highlight, and mirrored surroundings.

    Args:
        height_px: (H, W) surface above the belt, pixels.
        albedo: (H, W) factor on the material's colour.
        marks: (H, W) machining marks, about 0.

    Returns:
        (H, W, 3) float32 RGB, 0 to about 1.2.
    """
    gy, gx = np.gradient(height_px)
    nz = 1 / np.sqrt(1 + gx * gx + gy * gy)
    nx, ny = -gx * nz, -gy * nz
    lx, ly, lz = light.direction
    lambert = np.maximum(nx * lx + ny * ly + nz * lz, 0)
    norm = math.sqrt(lx * lx + ly * ly + (lz + 1) ** 2)
    facing = np.maximum((nx * lx + ny * ly + nz * (lz + 1)) / norm, 0)
    highlight = np.power(facing, material.gloss)
    mirrored = 0.55 + 0.45 * np.sin(2.6 * nz * ny + light.phase[0]) * np.cos(2.2 * nz * nx + light.phase[1])
    lit = light.ambient + (1 - light.ambient) * lambert
    tone = lit * (1 - material.mirror) + material.mirror * (0.35 * lit + 0.9 * mirrored)
    tone = tone * (1 + material.grain * marks) * albedo
    gleam = (0.25 + 0.55 * material.mirror) * highlight * np.minimum(albedo, 1)
    color = np.array(material.color, dtype=np.float32)
    shine = color * np.float32(0.4) + np.float32(0.5)
    return np.asarray(tone[..., None] * color + gleam[..., None] * shine, dtype=np.float32)
