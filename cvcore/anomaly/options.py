"""Names of scores and how maps become them; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MapKind = Literal["mse", "mae", "ssim"]
Reduction = Literal["max", "mean", "top1"]
MAP_KINDS: tuple[MapKind, ...] = ("mse", "mae", "ssim")
REDUCTIONS: tuple[Reduction, ...] = ("max", "mean", "top1")
ScoreName = Literal["mse", "mae", "ssim", "probability", "elbo", "mahalanobis", "neighbors", "patches"]
LATENT: tuple[ScoreName, ...] = ("mahalanobis", "neighbors")
"""Scores that are fitted to the latent vectors of normal images."""


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """How maps become scores.

    Attributes:
        sigma: of the maps' smoothing, canvas pixels.
        reduction: see `cvcore.anomaly.maps.reduce_map`.
        neighbors: of the score `neighbors`.
    """

    sigma: float = 2.0
    reduction: Reduction = "top1"
    neighbors: int = 5
