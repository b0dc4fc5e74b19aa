"""What can be chosen of selective search. Free of torch and Numba."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

StrategyName = Literal["single", "fast", "quality"]
STRATEGIES: tuple[StrategyName, ...] = ("single", "fast", "quality")


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectiveSearchOptions:
    """How an image is searched.

    Attributes:
        strategy: how many groupings are combined: 1, 8 or 80 (paper, section 5.1).
        max_boxes: the best so many are returned; None returns all.
        min_side_px: boxes whose shorter side is less, in the image's own pixels, are dropped.
        max_side: images with a longer side are searched at this one, pixels; None never scales.
        sigma: of the smoothing before segmentation, pixels of the searched image.
        seed: of the order in which boxes of all groupings are mixed.
    """

    strategy: StrategyName = "fast"
    max_boxes: int | None = 2000
    min_side_px: float = 1.0
    max_side: int | None = 500
    sigma: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}, got {self.strategy!r}")
        for name in ("max_boxes", "max_side"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1 or None, got {value}")
        for name in ("min_side_px", "sigma", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
