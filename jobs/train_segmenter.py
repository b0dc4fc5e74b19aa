"""Segmenters' training runs: their data, their first weights, and what their epochs report."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cvcore.catalog import find_model
from cvcore.checkpoint import Checkpoint
from cvcore.datasets.masks import MaskDataset
from cvcore.errors import SpecError
from cvcore.models import build_entry
from cvcore.segment.base import Segmenter
from cvcore.start import start_from
from cvcore.train.augment import AugmentOptions
from cvcore.train.batches import Shard, steps_per_epoch
from cvcore.train.epochs import ShareScore, Standing
from cvcore.train.masks import MaskBatch, MaskSamples, load_mask_samples
from cvcore.train.progress import Progress
from cvcore.train.run import RunOptions
from cvcore.train.segment import SegmenterLoss, SegmenterReport, segmenter_epochs, segmenter_loss
from cvcore.types import InputSpec
from jobs.masks import MaskSource, open_masks
from jobs.model_files import pin_of, read_part
from jobs.storage import StorageError
from jobs.train_detector import MAX_FAILED_FRACTION, average_decay
from jobs.train_run import Finished, optimize_options
from jobs.train_spec import SegmenterTrainSpec

SegmenterProgress = Progress[Segmenter, MaskBatch]


class SegmenterRun:
    """`jobs.train_run.TrainRun` of a segmenter."""

    def __init__(self, spec: SegmenterTrainSpec, shard: Shard) -> None:
        self.spec = spec
        self._train, self._held_out, self.model = prepare_segmenter(spec)
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
        steps = steps_per_epoch(len(self._train.samples), self.spec.batch_size, self._shard.world_size)
        return Progress(
            self.model,
            network,
            compute,
            optimize_options(self.spec, steps, weight_decay=self.spec.weight_decay),
            average_decay=average_decay(self.spec.epochs * steps),
        )

    def reports(
        self, progress: SegmenterProgress, *, first_epoch: int, standing: Standing, share: ShareScore
    ) -> Iterator[SegmenterReport]:
        spec = self.spec
        augment = AugmentOptions(
            turn=spec.turn,
            color=spec.color,
            fill=self.model.input_spec.fill,
            min_zoom=spec.min_zoom,
            max_zoom=spec.max_zoom,
        )
        options = RunOptions(spec.epochs, spec.batch_size, spec.seed, augment, patience=spec.patience)
        return segmenter_epochs(
            progress,
            self._train,
            self._held_out,
            options,
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


@dataclass(frozen=True)
class MaskSplit:
    """Images with masks, and where their files are; `name` is for messages."""

    name: str
    source: MaskSource
    dataset: MaskDataset

    def samples(self, labels: tuple[str, ...], canvas: InputSpec) -> MaskSamples:
        """All of them, fitted to a canvas.

        Raises:
            SpecError: where so many cannot be used that what is left may be anything.
        """
        loader = self.source.loader(self.dataset)
        found = load_mask_samples(self.dataset, self.source.files.read, loader, labels, canvas)
        failed, count = sum(found.failures.values()), len(self.dataset.images)
        if failed > MAX_FAILED_FRACTION * count:
            said = "; ".join(f"{p.count:,} {p.text}, as {p.examples[0]}" for p in loader.problems().serious)
            raise SpecError(f"{failed:,} of {count:,} images of {self.name} cannot be used. {said}")
        return found


def check_segmenter_data(spec: SegmenterTrainSpec) -> None:
    """Refuse what no worker could train with, before any is started."""
    train, held_out = read_mask_splits(spec)
    for split in (train, held_out):
        if not split.dataset.images:
            raise SpecError(f"{split.name} has no images with masks: a segmenter learns from masks")
    if train.dataset.labels != held_out.dataset.labels:
        raise SpecError(
            f"{held_out.name} has the classes {held_out.dataset.labels}, {train.name} "
            f"{train.dataset.labels}: give both the same names in a dataset.yaml"
        )
    if len(train.dataset.images) < spec.num_workers:
        raise SpecError(
            f"{spec.num_workers} workers need as many images, {train.name} has {len(train.dataset.images)}"
        )
    with torch.device("meta"):
        planned = build_segmenter(spec, train.dataset.labels)
    if spec.init is not None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "for .* copying from a non-meta parameter")
            _start(planned, spec.init, spec)


def read_mask_splits(spec: SegmenterTrainSpec) -> tuple[MaskSplit, MaskSplit]:
    """What is learned from, and what picks the best epoch.

    Raises:
        SpecError: where one of them is no dataset of masks.
    """
    train = _open(spec.data, spec)
    held_out = train if spec.val_data is None else _open(spec.val_data, spec)
    if held_out is train and spec.train_split == spec.val_split:
        raise SpecError(f"train_split and val_split are both {spec.val_split!r}: hold some images out")
    apart = spec.val_data is not None
    return _split(train, spec.train_split, whole=apart), _split(held_out, spec.val_split, whole=apart)


def prepare_segmenter(spec: SegmenterTrainSpec) -> tuple[MaskSamples, MaskSamples, Segmenter]:
    """Both datasets on the model's canvas, and the model with its first weights."""
    splits = read_mask_splits(spec)
    labels = splits[0].dataset.labels
    torch.manual_seed(spec.seed)
    model = build_segmenter(spec, labels)
    if spec.init is not None:
        _start(model, spec.init, spec)
    train, held_out = (split.samples(labels, model.input_spec) for split in splits)
    return train, held_out, model


def build_segmenter(spec: SegmenterTrainSpec, labels: tuple[str, ...]) -> Segmenter:
    """The model of a spec; raises `ModelError` for a configuration that it does not take."""
    model = build_entry(find_model(spec.model), labels, spec.config, name=spec.model)
    assert isinstance(model, Segmenter), "the spec admits segmenters that train"
    return model


def _open(location: str, spec: SegmenterTrainSpec) -> MaskSource:
    try:
        return open_masks(location, spec.access, seed=spec.seed)
    except StorageError as error:
        raise SpecError(f"{location} is no training data: {error}") from error


def _split(source: MaskSource, split: str, *, whole: bool) -> MaskSplit:
    """A split; of a dataset that stands for one by itself and has none, `whole`, all of it."""
    if whole and not source.has_splits:
        return MaskSplit(source.location, source, source.read())
    return MaskSplit(f"{source.location}, {split}", source, source.read(split))


def _start(model: Segmenter, init: str, spec: SegmenterTrainSpec) -> None:
    body = read_part(init, spec.access)
    start_from(model, body, name=init, sha256=pin_of(init, body, spec.sha256))
