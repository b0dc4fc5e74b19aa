"""The specs of the calibrate and scan jobs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cvcore.anomaly.options import Reduction, ScoreName, ScoreOptions
from jobs.model_files import model_folder
from jobs.spec import ExactSpec, Fraction, Location, Section
from jobs.storage import join

CALIBRATION_NAME = "calibration.json"


class ScoreSection(Section):
    """Which score, and how maps become one (see `cvcore.anomaly`). None: the model's default."""

    name: ScoreName | None = None
    sigma: Annotated[float, Field(ge=0)] = 2.0
    reduction: Reduction = "top1"
    neighbors: Annotated[int, Field(ge=1)] = 5

    @property
    def options(self) -> ScoreOptions:
        return ScoreOptions(self.sigma, self.reduction, self.neighbors)


class CalibrateSpec(ExactSpec):
    """Learn from normal images, which no training saw, what a model's scores mean.

    Attributes:
        target_fpr: share of normal images that may be called anomalous.
        robust: leave out images that look odd among the others.
    """

    job: Literal["calibrate"] = "calibrate"
    score: ScoreSection = ScoreSection()
    target_fpr: Annotated[float, Field(gt=0, lt=1)] = 0.01
    robust: bool = False


class ScanSection(Section):
    """What a scan keeps: heat maps of anomalies, and of inputs that score at least `heatmap_score`."""

    heatmap_score: Fraction = 0.95


class ScanSpec(ExactSpec):
    """Score what no earlier scan into the same sink has seen.

    Attributes:
        calibration: by default beside the model.
    """

    job: Literal["scan"] = "scan"
    calibration: Location | None = None
    scan: ScanSection = ScanSection()

    @property
    def calibration_uri(self) -> str:
        return self.calibration or join(model_folder(self.model.name), CALIBRATION_NAME)
