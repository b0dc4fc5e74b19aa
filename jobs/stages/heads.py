"""What a replica does with canvases: one head a task, each with the rows that it makes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor, nn

from cvcore.anomaly.heatmap import encode_heatmap
from cvcore.anomaly.scorers import Scorer, Scores, latent_size_of
from cvcore.autoencode.base import LUMA
from cvcore.detect.base import Detector
from cvcore.image.fit import Fit
from cvcore.models import ModelSource, build_model
from cvcore.retrieve.embed import embed, embedding_size_of
from cvcore.types import InputSpec
from jobs.schemas import embed_schema, score_schema
from jobs.stages.classify_head import ClassifyHead
from jobs.stages.image_heads import CodeHead, RestoreHead
from jobs.stages.propose_head import ProposeHead
from jobs.stages.rows import NON_FINITE, Failure, carried_columns, result_table, table_of
from jobs.stages.segment_head import SegmentHead
from jobs.stages.tasks import (
    ClassifyTask,
    CodeTask,
    DetectTask,
    EmbedTask,
    ProposeTask,
    RestoreTask,
    ScoreTask,
    SegmentTask,
    Task,
)


class Head(Protocol):
    """One replica's model and task."""

    input_spec: InputSpec

    def compute(self, images: Tensor, fits: Sequence[Fit]) -> Any:
        """What the network gives for (B, H, W, 3) uint8 canvases, in the job's precision."""

    def finish(self, raw: Any, fits: Sequence[Fit]) -> list[Any]:
        """From that to a result, or a `Failure`, for each image."""

    def table(self, batch: pa.Table, found: Mapping[int, Any]) -> pa.Table:
        """Rows, after a `unit` column, of decoded rows and of results by row."""


def make_head(source: ModelSource, task: Task, device: torch.device) -> Head:
    """Build a model for its task. The driver admits only models that can do it."""
    model = build_model(source).to(device).eval()
    match task:
        case DetectTask():
            return DetectHead(model, task)
        case ClassifyTask():
            return ClassifyHead(model, task)
        case ScoreTask():
            return ScoreHead(model, task)
        case EmbedTask():
            return EmbedHead(model)
        case RestoreTask():
            return RestoreHead(model, task)
        case CodeTask():
            return CodeHead(model, task)
        case ProposeTask():
            return ProposeHead(model, task)
        case SegmentTask():
            return SegmentHead(model, task)


class DetectHead:
    """Canvases to detections."""

    def __init__(self, model: nn.Module, task: DetectTask) -> None:
        assert isinstance(model, Detector), "the driver admits detectors only"
        self.input_spec = model.input_spec
        self.model = model
        self._task = task

    def compute(self, images: Tensor, fits: Sequence[Fit]) -> Any:
        return self.model(self.model.preprocess(images, fits))

    def finish(self, raw: Any, fits: Sequence[Fit]) -> list[Any]:
        finite = self.model.finite(raw)
        found = self.model.postprocess(raw, fits, self._task.options)
        return [each if ok else NON_FINITE for each, ok in zip(found, finite, strict=True)]

    def table(self, batch: pa.Table, found: Mapping[int, Any]) -> pa.Table:
        return result_table(batch, found, labels=self.model.labels, masks=self.model.makes_masks)


@dataclass(frozen=True, slots=True)
class Scored:
    """What was measured of one image.

    Attributes:
        raw: its score.
        heatmap: (H, W) float32 on the canvas, or None.
        latent: (D,) float32, or None.
        brightness, contrast: mean and standard deviation of its luma on the canvas, 0 to 1.
    """

    raw: float
    heatmap: npt.NDArray[np.float32] | None
    latent: npt.NDArray[np.float32] | None
    brightness: float
    contrast: float


class ScoreHead:
    """Canvases to anomaly scores."""

    def __init__(self, model: nn.Module, task: ScoreTask) -> None:
        self._task = task
        normals = None if task.normals is None else torch.from_numpy(np.load(io.BytesIO(task.normals)))
        self._scorer = Scorer(model, task.score, task.options, normals=normals)
        spec: Any = model.input_spec
        self.input_spec: InputSpec = spec
        self._latent_size = latent_size_of(model)

    def compute(self, images: Tensor, fits: Sequence[Fit]) -> tuple[Scores, Tensor]:
        del fits  # the whole canvas is the image: these models stretch
        luma = (images.float() * images.new_tensor(LUMA, dtype=torch.float32)).sum(dim=-1).flatten(1) / 255
        exposure = torch.stack([luma.mean(dim=1), luma.std(dim=1, correction=0)], dim=1)
        return self._scorer.score(images), exposure.cpu()

    def finish(self, raw: tuple[Scores, Tensor], fits: Sequence[Fit]) -> list[Any]:
        scores, exposure = raw
        keeps_maps = scores.maps is not None and self._task.calibration is not None
        found: list[Any] = []
        for index in range(len(fits)):
            score = float(scores.raw[index])
            if not np.isfinite(score):
                found.append(NON_FINITE)
                continue
            heatmap = scores.maps[index].numpy() if keeps_maps and scores.maps is not None else None
            latent = None if scores.latents is None else scores.latents[index].numpy()
            brightness, contrast = exposure[index].tolist()
            found.append(Scored(score, heatmap, latent, brightness, contrast))
        return found

    def table(self, batch: pa.Table, found: Mapping[int, Any]) -> pa.Table:
        schema = score_schema(self._latent_size)
        columns = carried_columns(batch, found, schema)
        rows = [each if isinstance(each := found.get(row), Scored) else None for row in range(batch.num_rows)]
        columns |= self._judged(rows)
        columns["brightness"] = pa.array([r and r.brightness for r in rows], pa.float32())
        columns["contrast"] = pa.array([r and r.contrast for r in rows], pa.float32())
        if self._latent_size is not None:
            kind = schema.field("embedding").type
            columns["embedding"] = pa.array([r and r.latent for r in rows], kind)
        return table_of(batch, columns, schema)

    def _judged(self, rows: Sequence[Scored | None]) -> dict[str, Any]:
        task, count = self._task, len(rows)
        raw = pa.array([r and r.raw for r in rows], pa.float32())
        if task.calibration is None:
            return {
                "anomaly_score": pa.nulls(count, pa.float32()),
                "anomaly_raw": raw,
                "is_anomaly": pa.nulls(count, pa.bool_()),
                "heatmap": pa.nulls(count, pa.binary()),
            }
        assert task.threshold is not None, "what is calibrated has a threshold"
        # As stored, so that deciding again from the rows gives the same; rows without a score are masked.
        raws = np.array([0.0 if r is None else r.raw for r in rows], np.float32)
        absent = np.array([r is None for r in rows], bool)
        scores, decisions = task.calibration.normalized(raws), raws > task.threshold
        heatmaps = [
            encode_heatmap(r.heatmap, center=task.map_center, scale=task.map_scale)
            if r is not None and r.heatmap is not None and (anomalous or score >= task.heatmap_score)
            else None
            for r, score, anomalous in zip(rows, scores, decisions, strict=True)
        ]
        return {
            "anomaly_score": pa.array(scores, pa.float32(), mask=absent),
            "anomaly_raw": raw,
            "is_anomaly": pa.array(decisions, pa.bool_(), mask=absent),
            "heatmap": pa.array(heatmaps, pa.binary()),
        }


class EmbedHead:
    """Canvases to vectors."""

    def __init__(self, model: nn.Module) -> None:
        size = embedding_size_of(model)
        assert size is not None, "the driver admits only models that give embeddings"
        spec: Any = model.input_spec
        self.input_spec: InputSpec = spec
        self.model = model
        self._schema = embed_schema(size)

    def compute(self, images: Tensor, fits: Sequence[Fit]) -> Tensor:
        del fits  # the whole canvas is the image: these models stretch
        return embed(self.model, images)

    def finish(self, raw: Tensor, fits: Sequence[Fit]) -> list[Any]:
        del fits
        finite = torch.isfinite(raw).all(dim=1).tolist()
        return [row if ok else NON_FINITE for row, ok in zip(raw.numpy(), finite, strict=True)]

    def table(self, batch: pa.Table, found: Mapping[int, Any]) -> pa.Table:
        columns = carried_columns(batch, found, self._schema)
        rows = [
            None if isinstance(each := found.get(row), Failure) else each for row in range(batch.num_rows)
        ]
        columns["embedding"] = pa.array(rows, self._schema.field("embedding").type)
        return table_of(batch, columns, self._schema)
