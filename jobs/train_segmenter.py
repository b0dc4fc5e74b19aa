"""Segmenters' training runs: their data, their first weights, and what their epochs report."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from cvcore.catalog import find_model
from cvcore.checkpoint import Checkpoint
from cvcore.errors import SpecError
from cvcore.models import build_entry
from cvcore.segment.base import Segmenter
from cvcore.train.batches import Shard
from cvcore.train.epochs import ShareScore, Standing
from cvcore.train.masks import MaskBatch, MaskSamples, load_mask_samples
from cvcore.train.progress import Progress
from cvcore.train.segment import SegmenterLoss, SegmenterReport, segmenter_epochs, segmenter_loss
from cvcore.types import InputSpec
from jobs.train_data import MaskSplit, cache_shares, check_decoded, check_splits, read_mask_splits
from jobs.train_run import Finished, copying_to_meta, dataset_progress
from jobs.train_spec import SegmenterTrainSpec
from jobs.train_views import begin, run_options

SegmenterProgress = Progress[Segmenter, MaskBatch]


class SegmenterRun:
    """`jobs.train_run.TrainRun` of a segmenter."""

    def __init__(self, spec: SegmenterTrainSpec, shard: Shard) -> None:
        self.spec = spec
        self._train, self._held_out, self.model = prepare_segmenter(spec, measures=shard.rank == 0)
        self.labels = self.model.labels
        self._shard = shard

    @property
    def config(self) -> dict[str, Any]:
        return self.model.config

    @property
    def model_name(self) -> str:
        return self.spec.model

    def network(self) -> nn.Module:
        return SegmenterLoss(self.model)

    def progress(self, network: nn.Module, *, bf16: bool) -> SegmenterProgress:
        compute = segmenter_loss(self.model, network, bf16=bf16)
        count = len(self._train.samples)
        return dataset_progress(self.spec, self.model, network, compute, num_samples=count, shard=self._shard)

    def reports(
        self, progress: SegmenterProgress, *, first_epoch: int, standing: Standing, share: ShareScore
    ) -> Iterator[SegmenterReport]:
        return segmenter_epochs(
            progress,
            self._train,
            self._held_out,
            run_options(self.spec, self.model),
            first_epoch=first_epoch,
            standing=standing,
            shard=self._shard,
            share=share,
        )

    def measured(self, report: SegmenterReport) -> tuple[dict[str, float], dict[str, Any]]:
        found = report.found
        assert found is not None
        per_class = zip(self.labels, found.class_iou, strict=True)
        failures = dict(self._train.failures)
        data = {"images": len(self._train.samples) + sum(failures.values()), "failures": failures}
        figures = {
            "miou": found.mean_iou,
            "dice": found.mean_dice,
            "pixel_accuracy": found.pixel_accuracy,
            "boundary_f1": found.boundary_f1,
        }
        return {name: value for name, value in figures.items() if not math.isnan(value)}, {
            "per_class_iou": {label: value for label, value in per_class if not math.isnan(value)},
            "data": data,
        }

    def finish(self, read_best: Callable[[], Checkpoint]) -> Finished | None:
        del read_best
        return None


def check_segmenter_data(spec: SegmenterTrainSpec) -> None:
    """Refuse what no worker could train with, before any is started."""
    train, held_out = read_mask_splits(spec)
    check_splits(spec, train, held_out)
    if train.dataset.labels != held_out.dataset.labels:
        raise SpecError(
            f"{held_out.name} has the classes {held_out.dataset.labels}, {train.name} "
            f"{train.dataset.labels}: give both the same names in a dataset.yaml"
        )
    with torch.device("meta"):
        planned = build_segmenter(spec, train.dataset.labels)
    with copying_to_meta():
        begin(planned, spec)


def prepare_segmenter(
    spec: SegmenterTrainSpec, *, measures: bool = True
) -> tuple[MaskSamples, MaskSamples, Segmenter]:
    """Both datasets on the model's canvas, see `read_mask_splits`, and the model with its first weights."""
    splits = read_mask_splits(spec, measures=measures)
    labels = splits[0].dataset.labels
    torch.manual_seed(spec.seed)
    model = build_segmenter(spec, labels)
    begin(model, spec)
    train, held_out = (
        _samples(split, labels, model.input_spec, max_cached_bytes=share)
        for split, share in zip(splits, cache_shares(spec, splits), strict=True)
    )
    return train, held_out, model


def build_segmenter(spec: SegmenterTrainSpec, labels: tuple[str, ...]) -> Segmenter:
    """The model of a spec; raises `ModelError` for a configuration that it does not take."""
    model = build_entry(find_model(spec.model), labels, spec.config, name=spec.model)
    assert isinstance(model, Segmenter), "the spec admits segmenters that train"
    return model


def _samples(
    split: MaskSplit, labels: tuple[str, ...], canvas: InputSpec, *, max_cached_bytes: int
) -> MaskSamples:
    found = load_mask_samples(
        split.dataset,
        split.source.files.read,
        split.source.loader(split.dataset),
        labels,
        canvas,
        max_cached_bytes=max_cached_bytes,
    )
    check_decoded(split, found.failures)
    return found
