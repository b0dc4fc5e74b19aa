"""Canvases to classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor, nn

from cvcore.classify.base import Classifier
from cvcore.image.fit import Fit
from cvcore.types import InputSpec
from jobs.schemas import LABEL_TYPE, classify_schema
from jobs.stages.rows import NON_FINITE, carried_columns, table_of
from jobs.stages.tasks import ClassifyTask


@dataclass(frozen=True, slots=True)
class Told:
    """The likeliest classes of one image, best first: their indices, and probabilities of 0 to 1."""

    label_ids: list[int]
    scores: list[float]


class ClassifyHead:
    """One replica's classifier."""

    def __init__(self, model: nn.Module, task: ClassifyTask) -> None:
        assert isinstance(model, Classifier), "the driver admits classifiers only"
        self.model = model
        self.input_spec: InputSpec = model.input_spec
        self._top_k = min(task.top_k, len(model.labels))

    def compute(self, images: Tensor, fits: Sequence[Fit]) -> Tensor:
        del fits
        return torch.softmax(self.model(self.model.preprocess(images)).float(), dim=1)

    def finish(self, raw: Tensor, fits: Sequence[Fit]) -> list[Any]:
        del fits
        finite = raw.isfinite().all(dim=1).tolist()
        best = raw.topk(self._top_k, dim=1)
        rows = zip(best.indices.tolist(), best.values.tolist(), finite, strict=True)
        return [Told(label_ids, scores) if ok else NON_FINITE for label_ids, scores, ok in rows]

    def table(self, batch: pa.Table, found: Mapping[int, Any]) -> pa.Table:
        schema = classify_schema()
        columns = carried_columns(batch, found, schema)
        rows = [each if isinstance(each := found.get(row), Told) else None for row in range(batch.num_rows)]
        columns["labels"] = pa.array([r and self._structs(r) for r in rows], pa.list_(LABEL_TYPE))
        return table_of(batch, columns, schema)

    def _structs(self, told: Told) -> list[dict[str, Any]]:
        pairs = zip(told.label_ids, told.scores, strict=True)
        return [{"label": self.model.labels[k], "label_id": k, "score": score} for k, score in pairs]
