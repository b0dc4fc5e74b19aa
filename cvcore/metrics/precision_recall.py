"""Precision over recall, the areas under it, and the point that is best to work at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cvcore.metrics.box_tables import Bools, Floats

NUM_POINTS = 11


@dataclass(frozen=True, slots=True, eq=False)
class PrCurve:
    """What detections of one class reach, counted from the best score down.

    Attributes:
        scores: (N,) falling.
        precision, recall: (N,) of that many detections; recall is NaN where there are no objects.
        num_objects: to be found.
    """

    scores: Floats
    precision: Floats
    recall: Floats
    num_objects: int


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Detections of at least `threshold` are kept; F1 is the harmonic mean of precision and recall."""

    threshold: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class PrPoint:
    """One point of a curve, of the detections of at least `score`."""

    recall: float
    precision: float
    score: float


def make_curve(scores: Floats, correct: Bools, num_objects: int) -> PrCurve:
    """The curve of detections in any order: (N,) scores, and whether each is right."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(correct[order]).astype(np.float64)
    precision = hits / np.arange(1, len(hits) + 1)
    recall = hits / num_objects if num_objects else np.full(len(hits), np.nan)
    return PrCurve(scores[order], precision, recall, num_objects)


def ap_11_points(curve: PrCurve) -> float:
    """Mean over recalls 0, 0.1 ... 1 of the best precision there or beyond (Everingham 2010, equation 1)."""
    if not curve.num_objects:
        return float("nan")
    levels = np.arange(NUM_POINTS) / (NUM_POINTS - 1)
    best = [curve.precision[curve.recall >= level].max(initial=0.0) for level in levels]
    return float(np.mean(best))


def ap_under_envelope(curve: PrCurve) -> float:
    """Area under precision made to fall monotonically, as VOC computes it since 2010."""
    if not curve.num_objects:
        return float("nan")
    steps = np.diff(curve.recall, prepend=0.0)
    return float((steps * _envelope(curve.precision)).sum())


def best_f1(curve: PrCurve) -> OperatingPoint | None:
    """The threshold of the largest F1, the highest of several; None where nothing right was found."""
    if not curve.num_objects or not curve.recall.max(initial=0.0) > 0:
        return None
    # A threshold takes all detections of one score, or none.
    ends = np.append(np.flatnonzero(np.diff(curve.scores)), len(curve.scores) - 1)
    precision, recall = curve.precision[ends], curve.recall[ends]
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(np.float64).tiny)
    k = int(f1.argmax())
    return OperatingPoint(float(curve.scores[ends[k]]), float(precision[k]), float(recall[k]), float(f1[k]))


def curve_points(curve: PrCurve, *, limit: int = 200) -> tuple[PrPoint, ...]:
    """The curve where an object is found, which keeps its envelope; at most about `limit` of these points."""
    if not curve.num_objects:
        return ()
    found = np.flatnonzero(np.diff(curve.recall, prepend=0.0) > 0)
    if len(found) > limit:
        found = found[np.linspace(0, len(found) - 1, limit).round().astype(int)]
    rows = zip(curve.recall[found], curve.precision[found], curve.scores[found], strict=True)
    return tuple(PrPoint(float(r), float(p), float(s)) for r, p, s in rows)


def _envelope(precision: Floats) -> Floats:
    """(N,) the best precision at each place or beyond."""
    return np.maximum.accumulate(precision[::-1])[::-1]
