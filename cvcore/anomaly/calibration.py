"""From the scores of normal images to thresholds with a known rate of false alarms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from cvcore.errors import TooFewNormalsError

TAIL_SHARE = 0.1
"""Of the scores, those that the tail is fitted to."""
MIN_NORMALS = 20
MAX_SHAPE = 0.5
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Tail:
    """A generalised Pareto distribution of what scores exceed `start` by (Pickands 1975).

    Attributes:
        start: where the tail begins, a raw score.
        share: of normal scores, those above it.
        shape, scale: of the excess.
    """

    start: float
    share: float
    shape: float
    scale: float

    @classmethod
    def fit(cls, scores: npt.NDArray[np.float64]) -> Tail:
        """To rising scores, by probability-weighted moments (Hosking and Wallis 1987, equation 7).

        The shape is kept from 0 to 0.5: below, the distribution would end, and every score beyond look alike.
        """
        count = max(2, math.ceil(TAIL_SHARE * len(scores)))
        start = float(scores[-count - 1])
        excess = scores[-count:] - start
        mean = float(excess.mean())
        places = (np.arange(1, count + 1) - 0.35) / count
        weighted = float(((1 - places) * excess).mean())
        gap = mean - 2 * weighted
        shape = 2 - mean / gap if gap > 0 else 0.0
        if not 0.0 <= shape <= MAX_SHAPE:
            shape = min(max(shape, 0.0), MAX_SHAPE)
        scale = max(mean * (1 - shape), np.finfo(float).tiny)
        return cls(start, count / len(scores), shape, scale)

    def rate_above(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The share of normal images that score above each, for scores in the tail."""
        excess = np.maximum(scores - self.start, 0.0)
        return self.share * stats.genpareto.sf(excess, self.shape, scale=self.scale)

    def score_at(self, rate: float) -> float:
        """The score that a share `rate` of normal images exceeds."""
        return self.start + float(stats.genpareto.isf(rate / self.share, self.shape, scale=self.scale))


@dataclass(frozen=True, slots=True)
class Threshold:
    """Where anomalies begin.

    Attributes:
        raw: a raw score; what is above is called anomalous.
        target_fpr: the share of normal images that was asked for.
        fpr_low, fpr_high: the rate's 95 % confidence interval.
        extrapolated: whether `raw` comes from the fitted tail, the normals being too few to count.
        num_normals: they were found from so many.
        needed_normals: so many would do without the tail.
    """

    raw: float
    target_fpr: float
    fpr_low: float
    fpr_high: float
    extrapolated: bool
    num_normals: int
    needed_normals: int

    def warning(self) -> str | None:
        """What a user should know before relying on it, if anything."""
        if not self.extrapolated:
            return None
        return (
            f"{self.num_normals} normal images are too few to count a rate of {self.target_fpr:g}: the "
            f"threshold is extrapolated from the tail of their scores, and the true rate may be up to "
            f"{self.fpr_high:.2g}. With {self.needed_normals} it would be counted"
        )


@dataclass(frozen=True, slots=True)
class Calibration:
    """Raw scores of normal images that no training saw, rising, and the tail fitted to them."""

    scores: npt.NDArray[np.float64]
    tail: Tail

    @classmethod
    def fit(cls, scores: Sequence[float] | npt.NDArray[np.floating]) -> Calibration:
        """
        Raises:
            TooFewNormalsError: for fewer than 20 scores, or scores that are all alike.
            ValueError: for scores that are not finite.
        """
        values = np.sort(np.asarray(scores, np.float64))
        if not np.isfinite(values).all():
            raise ValueError("scores of normal images hold NaN or infinity: leave failed inputs out")
        if len(values) < MIN_NORMALS:
            raise TooFewNormalsError(
                f"{len(values)} normal images are too few to calibrate with: give at least {MIN_NORMALS}, "
                "better some hundreds"
            )
        if values[0] == values[-1]:
            raise TooFewNormalsError(
                f"all {len(values)} normal images score {values[0]:g}: are they copies of one image?"
            )
        return cls(values, Tail.fit(values))

    def rate_above(self, raw: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The estimated share of normal images that score at least this much, any shape.

        Counted where normals are, with one added so that it is never 0; from the tail above its start.
        """
        given = np.asarray(raw, np.float64)
        count = len(self.scores)
        above = count - np.searchsorted(self.scores, given, side="left")
        counted = (above + 1) / (count + 1)
        in_tail = np.minimum(self.tail.rate_above(given), counted)
        rates: npt.NDArray[np.float64] = np.where(given > self.tail.start, in_tail, counted)
        return rates

    def normalized(self, raw: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Scores from 0 (the most normal) to 1: one minus `rate_above`."""
        return (1 - self.rate_above(raw)).astype(np.float32)

    def threshold(self, target_fpr: float) -> Threshold:
        """The threshold above which a new normal image scores with the chance `target_fpr`, or less.

        An order statistic of n normals: the rate above the r-th smallest has the distribution
        Beta(n - r + 1, r), whatever the scores' own (Wilks 1941). Where n is too small for that, the tail's.
        """
        if not 0 < target_fpr < 1:
            raise ValueError(f"target_fpr must be above 0 and below 1, got {target_fpr}")
        count = len(self.scores)
        needed = math.ceil(1 / target_fpr - 1e-9) - 1
        rank = math.ceil((1 - target_fpr) * (count + 1) - 1e-9)
        extrapolated = rank > count
        rank = min(rank, count)
        raw = self.tail.score_at(target_fpr) if extrapolated else float(self.scores[rank - 1])
        low, high = stats.beta.interval(CONFIDENCE, count - rank + 1, rank)
        if extrapolated:
            low, raw = 0.0, max(raw, float(self.scores[-1]))
        return Threshold(raw, target_fpr, float(low), float(high), extrapolated, count, needed)
