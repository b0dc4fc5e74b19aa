"""Which spec a model is trained by."""

from __future__ import annotations

from typing import Any

from cvcore.catalog import CATALOG, is_cfg
from cvcore.errors import SpecError, did_you_mean
from jobs.spec import validate_spec
from jobs.train_normals_spec import AutoencoderTrainSpec, MemoryTrainSpec
from jobs.train_spec import ClassifierTrainSpec, DetectorTrainSpec, SegmenterTrainSpec, TrainSpec

_BY_TASK: dict[str, type[TrainSpec]] = {
    "detect": DetectorTrainSpec,
    "classify": ClassifierTrainSpec,
    "autoencode": AutoencoderTrainSpec,
    "score": MemoryTrainSpec,
    "segment": SegmenterTrainSpec,
}
TRAIN_SPECS = {name: _BY_TASK[entry.task] for name, entry in CATALOG.items() if entry.trains}
"""Of each model that can be trained."""


def build_train_spec(content: dict[str, Any], *, name: str) -> TrainSpec:
    """Validate a training spec's content; raises `SpecError` with a line for each thing that is wrong."""
    model = content.get("model", "tiny")
    if isinstance(model, str) and is_cfg(model):
        return validate_spec(content, DetectorTrainSpec, name=name)
    if model not in TRAIN_SPECS:
        hint = did_you_mean(str(model), TRAIN_SPECS)
        raise SpecError(
            f"{model!r} cannot be trained.{hint} Models: {', '.join(TRAIN_SPECS)}; or a .cfg file"
        )
    return validate_spec(content, TRAIN_SPECS[model], name=name)
