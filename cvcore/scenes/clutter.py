"""Things on the belt that are no part of any class: what a detector must learn to leave alone."""

from __future__ import annotations

import numpy as np

from cvcore.scenes.geometry import Points, circle, rectangle, ribbon, smooth_path
from cvcore.scenes.parts import Layer, PartShape, ShapeMaker, rod, thread


def screw(rng: np.random.Generator) -> PartShape:
    """A wood screw: like a bolt, but with a countersunk head and a pointed tip."""
    radius = rng.uniform(0.05, 0.075)
    wide = radius * rng.uniform(1.9, 2.3)
    x0, neck = -0.5, -0.5 + wide * 0.9
    cone = np.array([[x0, -wide], [neck, -radius], [neck, radius], [x0, wide]])
    layers = [Layer(cone, wide * 0.8, 0.85), Layer(cone * (1.0, 0.55), wide * 1.2, 1.05)]
    layers += rod(neck - 0.01, 0.3, radius)
    layers += thread(neck + 0.12, 0.3, radius, rng.uniform(0.05, 0.07), base=0.0)
    for k in (1.0, 0.6, 0.25):
        layers.append(
            Layer(np.array([[0.29, -radius * k], [0.5, 0.0], [0.29, radius * k]]), radius * (1.3 - k), 0.9)
        )
    return PartShape(tuple(layers), thickness=wide, finish="brushed")


def dowel(rng: np.random.Generator) -> PartShape:
    """A plain pin with chamfered ends."""
    radius = rng.uniform(0.06, 0.11)
    layers = rod(-0.5, 0.5, radius * 0.85) + rod(-0.47, 0.47, radius)
    return PartShape(tuple(layers), thickness=radius * 1.3, finish="brushed")


def o_ring(rng: np.random.Generator) -> PartShape:
    """A rubber ring with a round section."""
    radius, tube = 0.5, rng.uniform(0.04, 0.065)
    layers = []
    for k, height in ((1.0, 0.5), (0.7, 0.9), (0.35, 1.1)):
        layers.append(Layer(circle(radius - tube * (1 - k)), tube * height * 2, 1.0))
    for k, height in ((0.35, 0.9), (0.7, 0.5)):
        layers.append(Layer(circle(radius - tube * (1 + k)), tube * height * 2, 1.0))
    layers.append(Layer(circle(radius - tube * 2), 0.0, hole=True))
    return PartShape(tuple(layers), thickness=tube * 2, finish="cast")


def chip(rng: np.random.Generator) -> PartShape:
    """A curl of swarf."""
    turns, grow = rng.uniform(0.5, 1.8), rng.uniform(0.15, 0.4)
    t = np.linspace(0, 1, 28)
    angle = t * turns * 2 * np.pi
    radius = 0.18 + grow * t
    path = np.stack([radius * np.cos(angle), radius * np.sin(angle) * rng.uniform(0.5, 1.0)], axis=1)
    wide = 0.05 * np.sin(np.pi * np.clip(t, 0.04, 0.96)) + 0.012
    layers = [Layer(ribbon(path, wide), 0.06, 0.8), Layer(ribbon(path, wide * 0.4), 0.14, 1.2)]
    return PartShape(tuple(layers), thickness=0.1, finish="cast")


def tag(rng: np.random.Generator) -> PartShape:
    """A paper label with printed bars."""
    half = rng.uniform(0.2, 0.34)
    layers = [Layer(rectangle(-0.5, -half, 0.5, half, corner=0.03), 0.012, 1.0)]
    x = -0.4
    while x < 0.38:
        bar = rng.uniform(0.012, 0.045)
        layers.append(Layer(rectangle(x, -half * 0.7, x + bar, half * rng.uniform(0.1, 0.7)), 0.012, 0.22))
        x += bar + rng.uniform(0.02, 0.06)
    return PartShape(tuple(layers), thickness=0.012, finish="cast")


def cable(anchors: Points, half_width: float) -> PartShape:
    """A round cable along `anchors`, (K, 2) xy in image-plane pixels."""
    path = smooth_path(anchors, 60)
    layers = [
        Layer(ribbon(path, half_width * k), half_width * h) for k, h in ((1.0, 0.7), (0.75, 1.3), (0.45, 1.7))
    ]
    return PartShape(tuple(layers), thickness=half_width * 1.7, finish="cast")


def crossbar(rng: np.random.Generator, half_width: float) -> PartShape:
    """A beam across the belt, bolted together: what parts pass under."""
    flange, edge = half_width * rng.uniform(0.25, 0.4), half_width
    thick = half_width * 0.5
    layers = [Layer(rectangle(-0.5, -edge, 0.5, edge), thick, 0.8)]
    for sign in (-1.0, 1.0):
        near, far = sorted((sign * edge * 0.98, sign * (edge - flange)))
        layers.append(Layer(rectangle(-0.5, near, 0.5, far), thick * 1.6, 1.05))
    pitch = half_width * rng.uniform(2.5, 5.0)
    layers += [
        Layer(circle(half_width * 0.2, center=(x, 0.0), sides=6), thick * 1.5, 0.9)
        for x in np.arange(-0.5 + pitch / 2, 0.5, pitch).tolist()
    ]
    return PartShape(tuple(layers[:250]), thickness=half_width * 0.8, finish="brushed")


CLUTTER: dict[str, tuple[ShapeMaker, float]] = {
    "screw": (screw, 1.0),
    "dowel": (dowel, 0.8),
    "o_ring": (o_ring, 0.7),
    "chip": (chip, 0.45),
    "tag": (tag, 1.0),
}
"""Each kind's maker, and its usual size relative to a gear's."""
