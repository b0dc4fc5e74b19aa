"""What a model may be run to do. Free of torch and Ray: preparing a job needs neither."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cvcore.anomaly.options import ScoreName, ScoreOptions
from cvcore.image.limits import DecodeLimits
from cvcore.propose.options import SelectiveSearchOptions
from cvcore.types import DetectOptions
from jobs.stages.guard import InputBounds
from jobs.storage import Access

if TYPE_CHECKING:
    from cvcore.anomaly.calibration import Calibration


@dataclass(frozen=True)
class DetectTask:
    """Find objects."""

    options: DetectOptions


@dataclass(frozen=True)
class ClassifyTask:
    """Say what inputs show, by their `top_k` likeliest classes."""

    top_k: int


@dataclass(frozen=True)
class ScoreTask:
    """Say how anomalous inputs are.

    Attributes:
        score: which score of the model.
        options: how maps become scores.
        normals: latent vectors of normal images, (N, D) as NumPy's .npy, for scores that are fitted to them.
        calibration: what raw scores mean; without one there are raw scores alone.
        threshold: the raw score above which an input is called anomalous.
        heatmap_score: heat maps are kept from this score on, 0 to 1; without a calibration none are.
        map_center, map_scale: see `cvcore.anomaly.heatmap.encode_heatmap`.
    """

    score: ScoreName
    options: ScoreOptions
    normals: bytes | None = field(default=None, repr=False)
    calibration: Calibration | None = field(default=None, repr=False)
    threshold: float | None = None
    heatmap_score: float = 1.0
    map_center: float = 0.0
    map_scale: float = 1.0


@dataclass(frozen=True)
class EmbedTask:
    """Give each input a vector."""


@dataclass(frozen=True)
class RestoreTask:
    """Reconstruct inputs, after adding noise of this standard deviation, 0 to 1."""

    noise: float


@dataclass(frozen=True)
class CodeTask:
    """Code inputs: `step` between levels, under a `prior`, (2, D) as .npy; see `cvcore.autoencode.coding`."""

    step: float
    prior: bytes = field(repr=False)


@dataclass(frozen=True)
class ProposeTask:
    """Find boxes that are likely to hold objects."""

    options: SelectiveSearchOptions


@dataclass(frozen=True)
class SegmentTask:
    """Give every pixel a class.

    Attributes:
        tile_px, overlap_px: see `cvcore.segment.tiles.TileOptions`; None looks at whole canvases.
        limits, bounds, access: of reading images by tiles: what they may be, and what work on one may take.
    """

    tile_px: int | None
    overlap_px: int
    limits: DecodeLimits
    bounds: InputBounds
    access: Access


Task = DetectTask | ClassifyTask | ScoreTask | EmbedTask | RestoreTask | CodeTask | ProposeTask | SegmentTask
