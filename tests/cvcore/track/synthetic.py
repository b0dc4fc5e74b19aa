"""Made-up sequences with known tracks, and detections that are wrong in known ways."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from cvcore.track.base import Floats, Ints

WIDTH, HEIGHT = 960, 540


@dataclass(frozen=True)
class Difficulty:
    """How hard a sequence is.

    Attributes:
        num_objects: in the picture at any time.
        hidden: share of an object that another one must cover before it is seen badly: its score is low then.
        shake_px: standard deviation of the camera's jumps between frames; it also sways by ten times that.
        missed: probability that an object is not detected.
        false_rate: detections of nothing in a frame, on average.
    """

    num_objects: int = 8
    hidden: float = 0.6
    shake_px: float = 0.0
    missed: float = 0.03
    false_rate: float = 0.1


@dataclass(frozen=True)
class Film:
    """Truth and detections, frame by frame: boxes (N, 4) xyxy, ids (N,), scores (N,)."""

    truth: list[tuple[Floats, Ints]]
    detections: list[tuple[Floats, Floats]]


def difficulties() -> dict[str, Difficulty]:
    """Twenty: five kinds of trouble, each at three strengths, and five mixtures."""
    plain = Difficulty()
    found = {}
    for step, name in enumerate(("mild", "strong", "severe"), 1):
        found[f"crowding, {name}"] = replace(plain, num_objects=8 + 8 * step)
        found[f"occlusion, {name}"] = replace(plain, num_objects=14, hidden=0.6 - 0.15 * step)
        found[f"camera motion, {name}"] = replace(plain, shake_px=1.5 * step)
        found[f"missed, {name}"] = replace(plain, missed=0.1 * step)
        found[f"false, {name}"] = replace(plain, false_rate=1.0 * step)
    for number in range(5):
        found[f"mixture {number + 1}"] = Difficulty(10 + 3 * number, 0.45, 0.5 + 0.4 * number, 0.08, 0.6)
    return found


def make_film(difficulty: Difficulty, *, seed: int, num_frames: int = 250) -> Film:
    """A sequence: objects of many sizes that enter, cross, turn a little, and leave."""
    rng = np.random.default_rng(seed)
    world = _World(difficulty.num_objects, rng)
    truth, detections = [], []
    sway = rng.uniform(0, 2 * np.pi, 2)
    for frame in range(num_frames):
        boxes, ids, depth = world.step()
        shake = rng.normal(0, 1, 2) + 10 * np.sin(frame / 12 + sway)
        boxes = boxes + np.tile(difficulty.shake_px * shake, 2)
        truth.append((boxes, ids))
        detections.append(_detect(boxes, depth, difficulty, rng))
    return Film(truth, detections)


class _World:
    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self._rng = rng
        self._next = 1
        self._centre, self._velocity = np.zeros((0, 2)), np.zeros((0, 2))
        self._size, self._depth = np.zeros((0, 2)), np.zeros(0)
        self._ids: Ints = np.zeros(0, np.int64)
        self._count = count
        self._enter(count, anywhere=True)

    def step(self) -> tuple[Floats, Ints, Floats]:
        """The next frame: boxes, ids, and depths (what is nearer covers what is farther)."""
        self._velocity += self._rng.normal(0, 0.15, self._velocity.shape)
        self._centre += self._velocity
        inside = ((self._centre > -40) & (self._centre < [WIDTH + 40, HEIGHT + 40])).all(axis=1)
        for name in ("_centre", "_velocity", "_size", "_depth", "_ids"):
            setattr(self, name, getattr(self, name)[inside])
        self._enter(self._count - len(self._ids), anywhere=False)
        boxes = np.concatenate([self._centre - self._size / 2, self._centre + self._size / 2], axis=1)
        return boxes, self._ids.copy(), self._depth.copy()

    def _enter(self, count: int, *, anywhere: bool) -> None:
        rng = self._rng
        centre = rng.uniform(0, [WIDTH, HEIGHT], (count, 2))
        speed = rng.uniform(2, 7, count)
        angle = rng.uniform(0, 2 * np.pi, count)
        if not anywhere:
            left = rng.random(count) < 0.5
            centre[:, 0] = np.where(left, -30, WIDTH + 30)
            angle = np.where(left, 0, np.pi) + rng.normal(0, 0.3, count)
        self._centre = np.concatenate([self._centre, centre])
        step = speed[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        self._velocity = np.concatenate([self._velocity, step])
        height = rng.uniform(50, 130, count)
        size = np.stack([height * rng.uniform(0.35, 0.9, count), height], axis=1)
        self._size = np.concatenate([self._size, size])
        self._depth = np.concatenate([self._depth, rng.random(count)])
        self._ids = np.concatenate([self._ids, np.arange(self._next, self._next + count)])
        self._next += count


def _covered(boxes: Floats, depth: Floats) -> Floats:
    """The largest share of each box that one nearer box covers."""
    corner = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    sides = np.clip(np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - corner, 0, None)
    size = boxes[:, 2:] - boxes[:, :2]
    share = sides.prod(axis=-1) / size.prod(axis=1)[:, None]
    share[depth[None] <= depth[:, None]] = 0.0
    return share.max(axis=1, initial=0.0)


def _detect(
    boxes: Floats, depth: Floats, difficulty: Difficulty, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    covered = _covered(boxes, depth)
    badly = covered > difficulty.hidden
    scores = np.where(
        badly, rng.uniform(0.1, 0.55, len(boxes)), np.clip(rng.normal(0.85, 0.08, len(boxes)), 0, 1)
    )
    seen = (rng.random(len(boxes)) >= difficulty.missed) & ~(badly & (rng.random(len(boxes)) < covered))
    size = boxes[:, 2:] - boxes[:, :2]
    noisy = boxes + rng.normal(0, 0.03, boxes.shape) * np.tile(size, 2)
    count = int(rng.poisson(difficulty.false_rate))
    corner = rng.uniform(0, [WIDTH, HEIGHT], (count, 2))
    wrong = np.concatenate([corner, corner + rng.uniform(40, 120, (count, 2))], axis=1)
    found = np.concatenate([noisy[seen], wrong])
    return found, np.concatenate([scores[seen], rng.uniform(0.1, 0.75, count)])
