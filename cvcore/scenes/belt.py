"""The conveyor belt: colour, weave, wear, seams, stains, scratches and side rails."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from cvcore.scenes.geometry import Matrix, similarity
from cvcore.scenes.material import Float

BELT_COLORS = (
    (0.16, 0.17, 0.18),
    (0.26, 0.27, 0.28),
    (0.13, 0.25, 0.19),
    (0.17, 0.25, 0.36),
    (0.47, 0.47, 0.45),
    (0.55, 0.50, 0.41),
    (0.33, 0.29, 0.25),
)
TEXTURE_SCALE = 0.6
"""Texture pixels an image pixel: fine grain comes from the sensor, not from here."""

OVERSCAN = 1.7
"""The texture's extent over the image's, so that a tilted camera still sees belt everywhere."""


@dataclass(frozen=True, slots=True)
class Belt:
    """One belt: its base colour, linear-ish RGB 0 to 1, and the angle at which it runs, radians."""

    color: tuple[float, float, float]
    angle: float


def random_belt(rng: np.random.Generator) -> Belt:
    """A belt of one of the usual colours, a little off, running at a random angle."""
    base = np.array(BELT_COLORS[int(rng.integers(len(BELT_COLORS)))])
    color = np.clip(base * rng.uniform(0.8, 1.2) + rng.uniform(-0.02, 0.02, 3), 0.05, 0.8)
    red, green, blue = color.tolist()
    return Belt((red, green, blue), float(rng.choice([0.0, math.pi / 2]) + rng.normal(0, 0.08)))


def cloud(height: int, width: int, cells: int, rng: np.random.Generator) -> Float:
    """Smooth noise about 0 with `cells` bumps along the longer side, (height, width) float32."""
    longer = max(height, width)
    rows, columns = max(2, cells * height // longer), max(2, cells * width // longer)
    seed = rng.standard_normal((rows, columns), dtype=np.float32)
    image = Image.fromarray(seed).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32)


def _weave(height: int, width: int, rng: np.random.Generator) -> Float:
    """A repeating pattern of the belt's surface: none, twill, dimples or ribs; (height, width) float32."""
    kind = int(rng.integers(4))
    period = rng.uniform(4.5, 11.0)
    xs = np.arange(width, dtype=np.float32) * np.float32(2 * math.pi / period)
    ys = np.arange(height, dtype=np.float32) * np.float32(2 * math.pi / period)
    if kind == 0:
        return np.zeros((height, width), dtype=np.float32)
    if kind == 1:
        return np.asarray(np.sin(xs)[None] * np.cos(ys)[:, None] + np.cos(xs)[None] * np.sin(ys)[:, None])
    if kind == 2:
        return np.asarray(np.sin(xs)[None] * np.sin(ys)[:, None] * 1.2, dtype=np.float32)
    return np.broadcast_to(np.sin(ys * 0.6)[:, None] * np.float32(0.8), (height, width))


def _marks(height: int, width: int, rng: np.random.Generator) -> Float:
    """Seams, scratches and scuffs as a brightness change, (height, width) float32 about 0."""
    plate = Image.new("L", (width, height), 128)
    draw = ImageDraw.Draw(plate)
    if rng.random() < 0.35:
        x, lean = rng.uniform(0.2, 0.8) * width, rng.uniform(-0.12, 0.12) * height
        wide, level = int(rng.integers(2, 6)), int(rng.integers(60, 110))
        draw.line([(x, 0), (x + lean, height)], fill=level, width=wide)
        draw.line([(x + wide, 0), (x + wide + lean, height)], fill=170, width=1)
    for _ in range(int(rng.integers(0, 14))):
        x, y, angle = rng.uniform(0, width), rng.uniform(0, height), rng.normal(0, 0.5)
        length, bend = rng.uniform(20, 260), rng.normal(0, 8)
        middle = (x + math.cos(angle) * length / 2, y + math.sin(angle) * length / 2 + bend)
        end = (x + math.cos(angle) * length, y + math.sin(angle) * length)
        level = 128 + int(rng.integers(12, 60)) * (1 if rng.random() < 0.7 else -1)
        draw.line([(x, y), middle, end], fill=level, width=int(rng.integers(1, 3)))
    for _ in range(int(rng.integers(0, 90))):
        x, y, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.5, 2.2)
        draw.ellipse([x - r, y - r, x + r, y + r], fill=int(rng.integers(60, 220)))
    return (np.asarray(plate, dtype=np.float32) - 128) * np.float32(1 / 128)


def _texture(height: int, width: int, rng: np.random.Generator) -> Float:
    """The belt's brightness factor in its own plane, (height, width) float32 about 1; at least square."""
    wear, lengths = rng.uniform(0.02, 0.1), width / height
    large, small = round(5 * lengths), round(40 * lengths)
    tone = 1 + wear * cloud(height, width, large, rng) + 0.6 * wear * cloud(height, width, small, rng)
    tone += rng.uniform(0.02, 0.09) * _weave(height, width, rng)
    strength = rng.uniform(0.3, 0.8)
    marks = [_marks(height, height, rng) for _ in range(math.ceil(lengths))]
    tone += strength * np.concatenate(marks, axis=1)[:, :width]
    if rng.random() < 0.6:
        patches = cloud(height, width, round(7 * lengths), rng)
        stain = np.clip(patches - rng.uniform(0.6, 1.3), 0, 0.6) * np.float32(1.6)
        tone *= 1 - rng.uniform(0.15, 0.55) * stain
    return np.asarray(tone, dtype=np.float32)


def _rails(height: int, width: int, rng: np.random.Generator) -> Float | None:
    """Aluminium guides along the belt's edges: their brightness, 0 where there is belt; or none at all."""
    if rng.random() > 0.3:
        return None
    visible = height / OVERSCAN
    reach = visible * rng.uniform(0.36, 0.46)
    offset = np.abs(np.arange(height, dtype=np.float32) - np.float32(height / 2)) - np.float32(reach)
    profile = 0.55 + 0.14 * np.sin(offset * np.float32(2 * math.pi / (visible * 0.09)))
    profile = np.where(offset < 2, 0.06, profile) * (offset > 0)
    sides = rng.choice(np.array([0.0, 1.0, 2.0]))
    index = np.arange(height)
    if sides == 0.0:
        profile = profile * (index < height / 2)
    elif sides == 1.0:
        profile = profile * (index >= height / 2)
    grain = rng.standard_normal(height, dtype=np.float32) * np.float32(0.015) * (profile > 0.1)
    return np.broadcast_to((profile + grain).astype(np.float32)[:, None], (height, width))


@dataclass(frozen=True, slots=True)
class BeltSurface:
    """A belt's surface in its own plane, TEXTURE_SCALE pixels an image pixel; it runs along x.

    Attributes:
        belt: colour and angle.
        tone: (side, side + travel) float32 brightness; the last `side` columns are seen at the start.
        rails: (side, side) float32 brightness of the guides, 0 where there is belt; None if there are none.
    """

    belt: Belt
    tone: Float
    rails: Float | None


def make_surface(
    belt: Belt, height: int, width: int, rng: np.random.Generator, *, travel_px: float = 0.0
) -> BeltSurface:
    """A surface for pictures of height x width pixels on a belt that moves by `travel_px` at most."""
    diagonal = math.hypot(height, width) * OVERSCAN * TEXTURE_SCALE * 0.85
    side = int(diagonal)
    tone = _texture(side, side + math.ceil(travel_px * TEXTURE_SCALE), rng)
    return BeltSurface(belt, tone, _rails(side, side, rng))


def view_surface(
    surface: BeltSurface, height: int, width: int, camera: Matrix, *, moved_px: float = 0.0
) -> Float:
    """The empty belt as the camera sees it, (height, width, 3) float32 RGB, about 0 to 1.

    `moved_px` is how far the belt has come along its angle, image pixels.
    """
    side, total = surface.tone.shape
    start = total - side - moved_px * TEXTURE_SCALE
    column = max(0, math.floor(start))
    # Output pixel -> undistorted plane -> along the belt -> texture pixel.
    place = similarity(
        scale=1 / TEXTURE_SCALE, angle=surface.belt.angle, x=width / 2, y=height / 2
    ) @ similarity(scale=1.0, angle=0.0, x=-side / 2, y=-side / 2)
    scroll = similarity(scale=1.0, angle=0.0, x=column - start, y=0.0)

    def warp(plane: Float, to_image: Matrix) -> Float:
        inverse = np.linalg.inv(to_image)
        coefficients = (inverse / inverse[2, 2]).ravel()[:8].tolist()
        seen = Image.fromarray(np.ascontiguousarray(plane)).transform(
            (width, height), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR
        )
        return np.asarray(seen, dtype=np.float32)

    color = np.array(surface.belt.color, dtype=np.float32)
    seen = warp(surface.tone[:, column : column + side + 1], camera @ place @ scroll)[..., None] * color
    if surface.rails is None:
        return np.asarray(seen, dtype=np.float32)
    rail = warp(surface.rails, camera @ place)[..., None]
    return np.asarray(np.where(rail > 0.03, rail, seen), dtype=np.float32)


def render_belt(belt: Belt, height: int, width: int, camera: Matrix, rng: np.random.Generator) -> Float:
    """A still belt as the camera sees it, (height, width, 3) float32 RGB, about 0 to 1."""
    return view_surface(make_surface(belt, height, width, rng), height, width, camera)
