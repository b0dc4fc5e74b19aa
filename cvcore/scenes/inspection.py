"""An inspection station: the same four parts in a fixture, picture after picture, some of them with a defect.

What an anomaly detector meets on a line: everything normal looks nearly alike, and what is wrong is small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from cvcore.scenes.belt import cloud
from cvcore.scenes.canvas import Canvas, Item
from cvcore.scenes.geometry import Points, project, ribbon, similarity, smooth_path
from cvcore.scenes.lens import Lens, expose
from cvcore.scenes.material import METALS, Float, Light
from cvcore.scenes.parts import PART_NAMES, PARTS, Layer

DEFECTS = ("scratch", "chip", "stain", "missing", "wrong")
FIXTURE = ("gear", "bearing", "nut", "washer")
PRODUCT_SEED = 5
"""Every picture shows parts of this one make: what varies is how they lie, their marks and the exposure."""
MIN_PIXELS = 12
"""A defect of which less is seen is drawn again."""


@dataclass(frozen=True, slots=True)
class InspectionSpec:
    """What pictures have in common.

    Attributes:
        size: height and width, pixels.
        shift_px: standard deviation of where a part lies.
        turn: standard deviation of how it is turned, radians.
        light: greatest relative change of the lamp's brightness.
        noise: standard deviation of the sensor's noise, 0 to 1 gray.
    """

    size: int = 192
    shift_px: float = 0.7
    turn: float = 0.012
    light: float = 0.04
    noise: float = 0.01

    def __post_init__(self) -> None:
        if self.size < 64:
            raise ValueError(f"size must be at least 64 pixels, got {self.size}")


DEFAULT_INSPECTION = InspectionSpec()


@dataclass(frozen=True, slots=True)
class Inspection:
    """A picture.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, the pixels that show the defect; empty without one.
    """

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]


def render_inspection(
    seed: int, defect: str | None = None, spec: InspectionSpec = DEFAULT_INSPECTION
) -> Inspection:
    """Render the picture of `seed`: the same arguments always give the same bytes.

    Without its defect a picture has the same parts, light and noise.

    Args:
        seed: any integer from 0 up.
        defect: one of DEFECTS, or None for a normal picture.
        spec: the settings.
    """
    if defect is not None and defect not in DEFECTS:
        raise ValueError(f"defect must be one of {', '.join(DEFECTS)}, got {defect!r}")
    items = _fixture(np.random.default_rng([seed, 0]), spec)
    light = _lamp(np.random.default_rng([seed, 1]), spec)
    sound = _painted(items, light, seed, spec)
    color, mask = sound.color, np.zeros((spec.size, spec.size), bool)
    if defect is not None:
        rng = np.random.default_rng([seed, 2])
        while mask.sum() < MIN_PIXELS:
            color, mask = _MAKERS[defect](rng, items, sound, seed, spec)
    gain = 1 + np.random.default_rng([seed, 3]).uniform(-spec.light, spec.light)
    lens = Lens((gain, gain, gain), (0.05, -0.04), 0.12, 0.8, 0.5, 0.0, 0.0, spec.noise)
    return Inspection(expose(color, lens, np.random.default_rng([seed, 4])), mask)


def write_inspections(
    folder: Path,
    *,
    num_normal: int,
    num_test: int,
    seed: int,
    spec: InspectionSpec = DEFAULT_INSPECTION,
) -> None:
    """Write a dataset of anomalies in the layout of MVTec AD.

    `num_normal` pictures into `folder/train/good`; `num_test` of normals into `folder/test/good` and of every
    defect into `folder/test/<defect>`, with masks (0 and 255) of the same names in `folder/masks/<defect>`.
    """
    numbers = iter(range(seed, seed + num_normal + num_test * (1 + len(DEFECTS))))
    for kind, part, count in _parts_of(num_normal, num_test):
        images = folder / part / (kind or "good")
        images.mkdir(parents=True, exist_ok=True)
        masks = folder / "masks" / str(kind)
        if kind is not None:
            masks.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            found = render_inspection(next(numbers), kind, spec)
            Image.fromarray(found.image).save(images / f"{index:04d}.png")
            if kind is not None:
                Image.fromarray(found.mask).convert("L").save(masks / f"{index:04d}.png")


def _parts_of(num_normal: int, num_test: int) -> Iterator[tuple[str | None, str, int]]:
    yield None, "train", num_normal
    for defect in (None, *DEFECTS):
        yield defect, "test", num_test


def _fixture(rng: np.random.Generator, spec: InspectionSpec) -> list[Item]:
    """The four parts, each in its corner, nearly where it should be."""
    items = []
    for place, name in enumerate(FIXTURE):
        make, usual = PARTS[name]
        shape = make(np.random.default_rng([PRODUCT_SEED, place]))
        scale = spec.size * 0.42 * min(1.0, usual)
        row, column = divmod(place, 2)
        pose = similarity(
            scale=scale,
            angle=0.3 * place + spec.turn * rng.normal(),
            x=(0.28 + 0.44 * column) * spec.size + spec.shift_px * rng.normal(),
            y=(0.28 + 0.44 * row) * spec.size + spec.shift_px * rng.normal(),
        )
        items.append(Item(shape, METALS[place], pose, scale, PART_NAMES.index(name)))
    return items


def _lamp(rng: np.random.Generator, spec: InspectionSpec) -> Light:
    sway = spec.light * rng.normal(size=2)
    elevation, azimuth = 1.0 + 0.2 * sway[0], 0.8 + 0.2 * sway[1]
    direction = (
        math.cos(elevation) * math.cos(azimuth),
        math.cos(elevation) * math.sin(azimuth),
        math.sin(elevation),
    )
    return Light(direction, 0.4, (0.4, 1.1), 0.5)


def _painted(items: Sequence[Item | None], light: Light, seed: int, spec: InspectionSpec) -> Canvas:
    """The tray with its parts; each part's marks depend on the seed and its place alone."""
    grain = cloud(spec.size, spec.size, 60, np.random.default_rng([seed, 5]))
    tray = np.full((spec.size, spec.size, 3), (0.24, 0.26, 0.28), np.float32)
    canvas = Canvas(tray * (1 + np.float32(0.03) * grain[..., None]), np.eye(3), light)
    for place, item in enumerate(items):
        if item is not None:
            canvas.paint(item, place, np.random.default_rng([seed, 6, place]))
    return canvas


Made = tuple[Float, npt.NDArray[np.bool_]]
"""The scene's colours with the defect, and the pixels that show it."""


def _scratch(
    rng: np.random.Generator, items: list[Item], sound: Canvas, seed: int, spec: InspectionSpec
) -> Made:
    """A thin bright line across a part."""
    del seed
    place = int(rng.integers(len(items)))
    item = items[place]
    middle, angle = rng.uniform(-0.2, 0.2, 2), rng.uniform(0, 2 * math.pi)
    along = np.array([math.cos(angle), math.sin(angle)])
    reach = rng.uniform(0.18, 0.4)
    bends = np.linspace(-reach, reach, 5)[:, None] * along + middle + rng.normal(0, 0.02, (5, 2))
    outline = ribbon(smooth_path(bends, 40), rng.uniform(0.6, 1.2) / item.scale_px)
    cover = _coverage(project(item.pose, outline), spec.size) * (sound.owner == place)
    level = np.float32(rng.uniform(0.75, 1.0))
    return _blended(sound.color, cover, level), cover >= 0.5


def _stain(
    rng: np.random.Generator, items: list[Item], sound: Canvas, seed: int, spec: InspectionSpec
) -> Made:
    """A dark patch, on parts or tray alike."""
    del items, seed
    center = rng.uniform(0.2, 0.8, 2) * spec.size
    angles = np.linspace(0, 2 * math.pi, 12, endpoint=False)
    radii = spec.size * rng.uniform(0.03, 0.07) * rng.uniform(0.6, 1.3, 12)
    corners = center + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]
    outline = smooth_path(np.concatenate([corners, corners[:1]]), 80)
    cover = _coverage(outline, spec.size, blur=1.0)
    dark = sound.color * np.float32(rng.uniform(0.25, 0.5))
    mixed = sound.color + (cover * np.float32(0.9))[..., None] * (dark - sound.color)
    return np.asarray(mixed, np.float32), cover >= 0.5


def _chip(
    rng: np.random.Generator, items: list[Item], sound: Canvas, seed: int, spec: InspectionSpec
) -> Made:
    """A bite out of a part's edge."""
    place = int(rng.integers(len(items)))
    shape = items[place].shape
    edge = shape.layers[0].outline
    center = edge[int(rng.integers(len(edge)))]
    angles = np.linspace(0, 2 * math.pi, 9, endpoint=False)
    radii = rng.uniform(0.06, 0.11) * rng.uniform(0.7, 1.3, 9)
    bite = center + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]
    broken = replace(shape, layers=(*shape.layers, Layer(bite, 0.0, hole=True)))
    return _instead(items, place, replace(items[place], shape=broken), sound, seed, spec)


def _missing(
    rng: np.random.Generator, items: list[Item], sound: Canvas, seed: int, spec: InspectionSpec
) -> Made:
    """A place without its part."""
    return _instead(items, int(rng.integers(len(items))), None, sound, seed, spec)


def _wrong(
    rng: np.random.Generator, items: list[Item], sound: Canvas, seed: int, spec: InspectionSpec
) -> Made:
    """A part of another kind in a place: all that is seen of it, or should be of the right one, is wrong."""
    place = int(rng.integers(len(items)))
    item = items[place]
    others = [index for index in range(len(items)) if index != place]
    stranger = items[int(rng.choice(others))].shape
    color, differs = _instead(items, place, replace(item, shape=stranger), sound, seed, spec)
    return color, differs | (sound.owner == place)


def _instead(
    items: list[Item], place: int, other: Item | None, sound: Canvas, seed: int, spec: InspectionSpec
) -> Made:
    """Another item in a place, or none, and the pixels that only one of the two pictures shows it in."""
    changed = [other if index == place else item for index, item in enumerate(items)]
    canvas = _painted(changed, sound.light, seed, spec)
    return canvas.color, (sound.owner == place) != (canvas.owner == place)


def _coverage(outline: Points, size: int, *, blur: float = 0.0) -> Float:
    """How much of each pixel lies inside an outline, (size, size), 0 to 1."""
    fine = Image.new("L", (size * 4, size * 4))
    ImageDraw.Draw(fine).polygon([(x, y) for x, y in (outline * 4 - 0.5).tolist()], fill=255)
    cover = fine.resize((size, size), Image.Resampling.BOX)
    if blur:
        cover = cover.filter(ImageFilter.GaussianBlur(blur))
    return np.asarray(cover, np.float32) / np.float32(255)


def _blended(color: Float, cover: Float, level: np.float32) -> Float:
    return np.asarray(color + cover[..., None] * (level - color), np.float32)


_Maker = Callable[[np.random.Generator, list[Item], Canvas, int, InspectionSpec], Made]
_MAKERS: dict[str, _Maker] = {
    "scratch": _scratch,
    "chip": _chip,
    "stain": _stain,
    "missing": _missing,
    "wrong": _wrong,
}
