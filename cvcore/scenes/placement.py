"""What lies where: parts and clutter at random on the belt's plane."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cvcore.scenes.canvas import CLUTTER_ID, Item
from cvcore.scenes.clutter import CLUTTER, cable
from cvcore.scenes.geometry import similarity
from cvcore.scenes.material import METALS, PAPER, RUBBER
from cvcore.scenes.parts import PART_NAMES, PARTS


@dataclass(frozen=True, slots=True)
class SceneSpec:
    """What scenes have in common, whatever their seed.

    Attributes:
        min_side, max_side: of the image's longer side, pixels.
        min_parts, max_parts: parts laid on the belt (some may fall outside or be covered).
        min_clutter, max_clutter: things of no class.
        min_size, max_size: size of a gear over the image's shorter side.
        max_overlap: most of a new part's bounding circle that may lie in another's, 0 to 1.
        min_visible: parts of which less than this fraction is seen are not annotated.
        tilt: greatest relative change of depth from the image's centre to its edges.
        degrade: strength of blur, noise and colour cast; 0 for none.
    """

    min_side: int = 480
    max_side: int = 960
    min_parts: int = 4
    max_parts: int = 14
    min_clutter: int = 1
    max_clutter: int = 7
    min_size: float = 0.12
    max_size: float = 0.25
    max_overlap: float = 0.35
    min_visible: float = 0.3
    tilt: float = 0.1
    degrade: float = 1.0

    def __post_init__(self) -> None:
        for low, high in (
            ("min_side", "max_side"),
            ("min_parts", "max_parts"),
            ("min_clutter", "max_clutter"),
        ):
            if not 0 <= getattr(self, low) <= getattr(self, high):
                raise ValueError(
                    f"{low} must be between 0 and {high}, got {getattr(self, low)} and {getattr(self, high)}"
                )
        if self.min_side < 64:
            raise ValueError(f"min_side must be at least 64 pixels, got {self.min_side}")
        if not 0 < self.min_size <= self.max_size:
            raise ValueError(f"sizes must be positive and rise, got {self.min_size} and {self.max_size}")
        if not 0 <= self.tilt <= 0.2:
            raise ValueError(f"tilt must be between 0 and 0.2, got {self.tilt}")


DEFAULT_SPEC = SceneSpec()


def place_parts(rng: np.random.Generator, spec: SceneSpec, height: int, width: int) -> list[Item]:
    """Lay parts at random, apart from each other as far as `max_overlap` asks."""
    zoom = min(height, width) * rng.uniform(spec.min_size, spec.max_size)
    metals = rng.permutation(len(METALS))[: int(rng.integers(2, 5))]
    placed: list[tuple[float, float, float]] = []
    items = []
    for _ in range(int(rng.integers(spec.min_parts, spec.max_parts + 1))):
        label_id = int(rng.integers(len(PART_NAMES)))
        make, usual = PARTS[PART_NAMES[label_id]]
        scale = zoom * usual * rng.uniform(0.75, 1.3)
        for _ in range(8):
            x, y = rng.uniform(-0.02, 1.02) * width, rng.uniform(-0.02, 1.02) * height
            gap = 1 - spec.max_overlap * (1.0 if rng.random() < 0.35 else 0.1)
            if all(math.hypot(x - px, y - py) > gap * (scale + other) / 2 for px, py, other in placed):
                break
        else:
            continue
        placed.append((x, y, scale))
        pose = similarity(scale=scale, angle=rng.uniform(0, 2 * math.pi), x=x, y=y)
        items.append(Item(make(rng), METALS[int(rng.choice(metals))], pose, scale, label_id))
    return items


def place_clutter(rng: np.random.Generator, spec: SceneSpec, height: int, width: int) -> list[Item]:
    """Screws, pins, rings, swarf, labels and now and then a cable."""
    zoom = min(height, width) * rng.uniform(spec.min_size, spec.max_size)
    items = scatter_clutter(rng, spec, height, width, zoom)
    if spec.max_clutter > 0 and rng.random() < 0.15:
        edge = np.array([[-0.1, rng.random()], [0.3, rng.random()], [0.7, rng.random()], [1.1, rng.random()]])
        shape = cable(edge * (width, height), zoom * rng.uniform(0.025, 0.05))
        items.append(Item(shape, RUBBER, np.eye(3), 1.0, CLUTTER_ID))
    return items


def scatter_clutter(
    rng: np.random.Generator, spec: SceneSpec, height: int, width: int, zoom: float
) -> list[Item]:
    """Small things at random; `zoom` is the size of a gear among them, pixels."""
    kinds = tuple(CLUTTER)
    items = []
    for _ in range(int(rng.integers(spec.min_clutter, spec.max_clutter + 1))):
        kind = kinds[int(rng.integers(len(kinds)))]
        make, usual = CLUTTER[kind]
        scale = zoom * usual * rng.uniform(0.7, 1.3)
        pose = similarity(
            scale=scale,
            angle=rng.uniform(0, 2 * math.pi),
            x=rng.uniform(0, width),
            y=rng.uniform(0, height),
        )
        material = {"o_ring": RUBBER, "tag": PAPER}.get(kind, METALS[int(rng.integers(len(METALS)))])
        items.append(Item(make(rng), material, pose, scale, CLUTTER_ID))
    return items


def mixed(rng: np.random.Generator, parts: list[Item], clutter: list[Item]) -> list[Item]:
    """One drawing order: clutter mostly below the parts, some of it above."""
    order = [(rng.random() * 0.7, k, item) for k, item in enumerate(clutter)]
    order += [(0.25 + rng.random() * 0.75, k + len(clutter), item) for k, item in enumerate(parts)]
    return [item for _, _, item in sorted(order, key=lambda entry: entry[:2])]
