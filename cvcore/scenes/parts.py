"""The parts: what each class looks like as a stack of outlines with heights.

A part lies in its own plane with its largest extent near 1, so that a pose's scale is its size in pixels.
Nothing here knows of images, cameras or light.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cvcore.scenes.geometry import Points, circle, rectangle, regular_polygon
from cvcore.scenes.material import Finish


@dataclass(frozen=True, slots=True)
class Layer:
    """One outline, painted over the layers before it.

    Attributes:
        outline: (K, 2) float64 xy, part units.
        height: of the surface inside, part units above the belt.
        albedo: factor on the material's colour; below 1 for recesses, seals and dirt.
        hole: cut through: neither surface nor mask remains inside.
    """

    outline: Points
    height: float
    albedo: float = 1.0
    hole: bool = False


@dataclass(frozen=True, slots=True)
class PartShape:
    """One individual part.

    Attributes:
        layers: bottom first; the first is the silhouette.
        thickness: height of the highest point, part units; sets the length of the shadow.
        finish: the direction in which its surface was machined.
    """

    layers: tuple[Layer, ...]
    thickness: float
    finish: Finish


ShapeMaker = Callable[[np.random.Generator], PartShape]


def rod(
    x1: float, x2: float, radius: float, *, albedo: float = 1.0, base: float = 0.0, steps: int = 6
) -> list[Layer]:
    """A cylinder that lies along x: strips whose heights follow its round section."""
    angles = np.linspace(0.12, 1.45, steps)
    return [
        Layer(
            rectangle(x1, -radius * math.cos(a), x2, radius * math.cos(a)),
            base + radius * (0.25 + math.sin(a)),
            albedo,
        )
        for a in angles
    ]


def thread(x1: float, x2: float, radius: float, pitch: float, *, base: float) -> list[Layer]:
    """Slanted grooves across a rod, each following the rod's round section."""
    layers = []
    lean = pitch * 0.45
    for x in np.arange(x1 + pitch * 0.5, x2 - pitch * 0.4, pitch):
        for a in (0.15, 0.7, 1.2):
            half = radius * math.cos(a) * 1.04
            shift = lean * math.cos(a)
            groove = np.array(
                [
                    [x - shift, -half],
                    [x - shift + pitch * 0.42, -half],
                    [x + shift + pitch * 0.42, half],
                    [x + shift, half],
                ]
            )
            layers.append(Layer(groove, base + radius * (0.12 + 0.95 * math.sin(a)), 0.52))
    return layers


def bolt(rng: np.random.Generator) -> PartShape:
    """A bolt lying on its side: a hexagonal or a cylindrical head and a threaded shank."""
    length, radius = 1.0, rng.uniform(0.075, 0.105)
    head, wide = radius * rng.uniform(1.25, 1.7), radius * rng.uniform(1.75, 2.05)
    x0, x1 = -length / 2, length / 2
    lift = wide - radius
    neck = x0 + head
    layers = rod(neck - 0.02, x1, radius, base=lift)
    start = neck + (x1 - neck) * rng.choice([0.04, 0.3, 0.5])
    layers += thread(start, x1, radius, rng.uniform(0.042, 0.06), base=lift)
    if rng.random() < 0.25:
        layers += rod(x0, neck, wide * 0.92, steps=7)
        layers.append(Layer(rectangle(neck - 0.015, -wide * 0.9, neck, wide * 0.9), lift, 0.6))
    else:
        if rng.random() < 0.4:
            layers.append(
                Layer(rectangle(neck - 0.02, -wide * 1.2, neck + 0.015, wide * 1.2), lift * 0.8, 0.95)
            )
        split = wide * rng.uniform(0.35, 0.62)
        shift = wide * rng.uniform(-0.15, 0.15)
        layers.append(Layer(rectangle(x0, -wide, neck, wide, corner=head * 0.16), wide * 0.9, 0.8))
        layers.append(Layer(rectangle(x0, -wide, neck, shift - split), wide * 1.0, 0.78))
        layers.append(Layer(rectangle(x0, shift + split, neck, wide), wide * 1.15, 0.9))
        layers.append(
            Layer(rectangle(x0 - head * 0.06, shift - split, neck, shift + split), wide * 1.6, 1.06)
        )
    return PartShape(tuple(layers), thickness=wide * 1.6, finish="brushed")


def nut(rng: np.random.Generator) -> PartShape:
    """A hexagon nut from above: chamfered corners, and a threaded bore through which the belt shows."""
    outer, thick = 0.5, rng.uniform(0.2, 0.3)
    bore = outer * rng.uniform(0.46, 0.56)
    flat = outer * math.cos(math.pi / 6)
    layers = []
    if rng.random() < 0.25:
        layers.append(Layer(circle(outer * 0.99), thick * 0.3, 0.95))
        outer *= 0.88
        flat, bore = flat * 0.9, bore * 0.9
    layers.append(Layer(regular_polygon(outer, 6), thick * 0.82, 0.92))
    layers.append(Layer(circle(flat * rng.uniform(0.97, 1.02)), thick, 1.0))
    layers.append(Layer(circle(bore * 1.14), thick * 0.8, 0.8))
    for k, albedo in enumerate((0.42, 0.7, 0.34, 0.6)):
        layers.append(Layer(circle(bore * (1.0 - 0.045 * k)), thick * (0.55 - 0.1 * k), albedo))
    layers.append(Layer(circle(bore * 0.83), 0.0, hole=True))
    return PartShape(tuple(layers), thickness=thick, finish="turned" if rng.random() < 0.5 else "cast")


def washer(rng: np.random.Generator) -> PartShape:
    """A flat ring, sometimes split as a spring washer."""
    outer, thick = 0.5, rng.uniform(0.035, 0.07)
    bore = outer * rng.uniform(0.42, 0.64)
    layers = [Layer(circle(outer, sides=56), thick * 0.6, 0.9), Layer(circle(outer * 0.965, sides=56), thick)]
    layers.append(Layer(circle(bore * 1.05), thick * 0.6, 0.9))
    layers.append(Layer(circle(bore), 0.0, hole=True))
    if rng.random() < 0.25:
        gap = outer * 0.05
        cut = np.array(
            [[bore * 0.8, -gap], [outer * 1.1, gap * 0.4], [outer * 1.1, gap * 2.4], [bore * 0.8, gap]]
        )
        layers.append(Layer(cut, 0.0, hole=True))
    return PartShape(tuple(layers), thickness=thick, finish="turned" if rng.random() < 0.6 else "brushed")


def gear_outline(teeth: int, root: float, tip: float) -> Points:
    """The silhouette of a spur gear: trapezoidal teeth between the root and the tip circle."""
    pitch = 2 * math.pi / teeth
    corners = []
    for k in range(teeth):
        for fraction, radius in ((-0.28, root), (-0.15, tip), (0.15, tip), (0.28, root)):
            angle = (k + fraction) * pitch
            corners.append((radius * math.cos(angle), radius * math.sin(angle)))
    return np.array(corners)


def gear(rng: np.random.Generator) -> PartShape:
    """A spur gear from above: teeth, a recessed web, a hub, and a bore with or without a keyway."""
    teeth, thick = int(rng.integers(11, 27)), rng.uniform(0.1, 0.18)
    tip = 0.5
    root = tip * (1 - 2.1 / (teeth + 2.0))
    bore = tip * rng.uniform(0.14, 0.26)
    layers = [
        Layer(gear_outline(teeth, root, tip), thick * 0.9, 0.93),
        Layer(gear_outline(teeth, root * 0.975, tip * 0.975), thick),
    ]
    if rng.random() < 0.65:
        rim, hub = root * 0.86, bore * rng.uniform(1.5, 1.8)
        layers.append(Layer(circle(rim), thick * 0.62, 0.82))
        if rng.random() < 0.5:
            count, ring = int(rng.integers(4, 7)), (rim + hub) / 2
            for k in range(count):
                angle = 2 * math.pi * k / count
                center = (ring * math.cos(angle), ring * math.sin(angle))
                layers.append(Layer(circle((rim - hub) * 0.3, center=center, sides=20), 0.0, hole=True))
        layers.append(Layer(circle(hub), thick * 1.2, 1.02))
    layers.append(Layer(circle(bore * 1.1), thick * 0.8, 0.7))
    layers.append(Layer(circle(bore), 0.0, hole=True))
    if rng.random() < 0.5:
        layers.append(Layer(rectangle(0.0, -bore * 0.26, bore * 1.35, bore * 0.26), 0.0, hole=True))
    return PartShape(tuple(layers), thickness=thick, finish="turned")


def bearing(rng: np.random.Generator) -> PartShape:
    """A deep-groove ball bearing from above: two rings with balls or a shield between them."""
    outer, thick = 0.5, rng.uniform(0.16, 0.24)
    bore = outer * rng.uniform(0.4, 0.56)
    width = outer - bore
    inner_edge, outer_edge = bore + width * 0.29, outer - width * 0.27
    layers = [
        Layer(circle(outer, sides=56), thick * 0.85, 0.9),
        Layer(circle(outer * 0.965, sides=56), thick),
        Layer(circle(outer_edge * 1.02), thick * 0.85, 0.75),
    ]
    middle, gap = (inner_edge + outer_edge) / 2, outer_edge - inner_edge
    if rng.random() < 0.55:
        layers.append(Layer(circle(outer_edge), thick * 0.25, 0.2))
        count = int(rng.integers(7, 12))
        for k in range(count):
            angle = 2 * math.pi * k / count
            center = (middle * math.cos(angle), middle * math.sin(angle))
            for r, h in ((0.48, 0.45), (0.38, 0.66), (0.22, 0.78)):
                layers.append(Layer(circle(gap * r, center=center, sides=14), thick * h, 1.1))
    else:
        seal = rng.choice([0.24, 0.3, 0.85])
        layers.append(Layer(circle(outer_edge), thick * 0.72, 0.45))
        layers.append(Layer(circle(outer_edge - gap * 0.1), thick * 0.84, seal))
        layers.append(Layer(circle(middle), thick * 0.8, seal * 0.92))
    layers.append(Layer(circle(inner_edge), thick * 0.8, 0.7))
    layers.append(Layer(circle(inner_edge * 0.97), thick))
    layers.append(Layer(circle(bore * 1.05), thick * 0.8, 0.8))
    layers.append(Layer(circle(bore), 0.0, hole=True))
    return PartShape(tuple(layers), thickness=thick, finish="turned")


def bracket(rng: np.random.Generator) -> PartShape:
    """A bent or flat angle bracket of sheet metal with drilled holes."""
    arm_x, arm_y = 1.0, rng.uniform(0.6, 0.95)
    strip, thick = rng.uniform(0.24, 0.34), rng.uniform(0.04, 0.07)
    cut, x0, y0 = 0.03, -arm_x * 0.5, -arm_y * 0.5
    fillet = rng.choice([0.0, strip * 0.35])
    outline = np.array(
        [
            [x0 + cut, y0],
            [x0 + arm_x - cut, y0],
            [x0 + arm_x, y0 + cut],
            [x0 + arm_x, y0 + strip - cut],
            [x0 + arm_x - cut, y0 + strip],
            [x0 + strip + fillet, y0 + strip],
            [x0 + strip, y0 + strip + fillet],
            [x0 + strip, y0 + arm_y - cut],
            [x0 + strip - cut, y0 + arm_y],
            [x0 + cut, y0 + arm_y],
            [x0, y0 + arm_y - cut],
            [x0, y0 + cut],
        ]
    )
    layers = [Layer(outline, thick, 0.96)]
    if rng.random() < 0.5:
        fold = rng.uniform(0.16, 0.3)
        for part, height, albedo in ((1.0, 1.6, 1.12), (0.86, 2.6, 0.74)):
            edge = x0 + arm_x
            layers.append(
                Layer(
                    rectangle(edge - fold * part, y0 + 0.005, edge, y0 + strip - 0.005),
                    thick * height,
                    albedo,
                )
            )
    hole = strip * rng.uniform(0.17, 0.25)
    spots = [(x0 + strip / 2, y0 + arm_y - strip * 0.55), (x0 + arm_x * 0.56, y0 + strip / 2)]
    if rng.random() < 0.7:
        spots.append((x0 + strip / 2, y0 + strip / 2))
    for center in spots:
        layers.append(Layer(circle(hole * 1.25, center=center, sides=24), thick * 0.8, 0.9))
        layers.append(Layer(circle(hole, center=center, sides=24), 0.0, hole=True))
    return PartShape(tuple(layers), thickness=thick * 2, finish=rng.choice(np.array(["brushed", "cast"])))


PARTS: dict[str, tuple[ShapeMaker, float]] = {
    "bolt": (bolt, 1.35),
    "nut": (nut, 0.62),
    "washer": (washer, 0.66),
    "gear": (gear, 1.0),
    "bearing": (bearing, 0.92),
    "bracket": (bracket, 1.15),
}
"""Each class's maker, and its usual size relative to a gear's."""

PART_NAMES: tuple[str, ...] = tuple(PARTS)
