"""Classifiers' and localisers' training runs: their data, their first weights, what their epochs report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from cvcore.catalog import find_model
from cvcore.checkpoint import Checkpoint
from cvcore.classify.base import Classifier
from cvcore.classify.localizer import Localizer
from cvcore.classify.loss import ClassifierLoss, ClassLossOptions, balanced_weights
from cvcore.classify.start import Started, start_classifier
from cvcore.errors import SpecError
from cvcore.models import build_entry
from cvcore.train.batches import Shard
from cvcore.train.classify import (
    ClassifierReport,
    ClassifierRunOptions,
    LabelModel,
    PictureBatch,
    classifier_epochs,
    classifier_loss,
)
from cvcore.train.crops import CropOptions
from cvcore.train.epochs import ShareScore, Standing
from cvcore.train.pictures import Canvas, Picture, PictureSet, whole_canvas
from cvcore.train.progress import Progress
from jobs.labelled import Labelled, labelled_pictures
from jobs.model_files import pin_of, read_part
from jobs.train_data import Split, cache_shares, check_decoded, check_splits, read_splits
from jobs.train_run import copying_to_meta, dataset_progress
from jobs.train_spec import ClassifierTrainSpec

STORED_SHARE = 8 / 7
"""Of a canvas's side, the shorter side of stored pictures: the papers' 256 for 224."""

ClassifierProgress = Progress[LabelModel, PictureBatch]


class ClassifierRun:
    """`jobs.train_run.TrainRun` of a classifier or localiser."""

    def __init__(self, spec: ClassifierTrainSpec, shard: Shard) -> None:
        self.spec = spec
        self._shard = shard
        splits = read_splits(spec)
        self.labels = splits[0].dataset.labels
        torch.manual_seed(spec.seed)
        self.model = _build(spec, self.labels)
        self._started = None if spec.init is None else _start(self.model, spec.init, spec)
        train, held_out = (_pictures(spec, split, self.model) for split in splits)
        canvas = self.model.input_spec
        self._left_out = train.left_out
        stored = whole_canvas(round(canvas.height * STORED_SHARE))
        shares = cache_shares(spec, splits)
        self._train = _decode(splits[0], train, stored, max_cached_bytes=shares[0])
        held = held_out if shard.rank == 0 else Labelled(())  # the first worker measures
        self._held_out = _decode(splits[1], held, lambda _: canvas, max_cached_bytes=shares[1])

    @property
    def config(self) -> dict[str, Any]:
        return self.model.config

    @property
    def model_name(self) -> str:
        return self.spec.model

    def network(self) -> nn.Module:
        weights = None
        if self.spec.class_weights == "balanced":
            weights = balanced_weights(_counts(self._train.pictures, self.labels))
        options = ClassLossOptions(self.spec.label_smoothing, weights, self.spec.box_weight)
        return ClassifierLoss(self.model, options)

    def progress(self, network: nn.Module, *, bf16: bool) -> ClassifierProgress:
        compute = classifier_loss(self.model, network, bf16=bf16)
        count = len(self._train)
        return dataset_progress(self.spec, self.model, network, compute, num_samples=count, shard=self._shard)

    def reports(
        self, progress: ClassifierProgress, *, first_epoch: int, standing: Standing, share: ShareScore
    ) -> Iterator[ClassifierReport]:
        spec, canvas = self.spec, self.model.input_spec
        crops = CropOptions(canvas.height, canvas.width, spec.min_area, spec.mirror, spec.color)
        return classifier_epochs(
            progress,
            self._train,
            self._held_out,
            ClassifierRunOptions(spec.epochs, spec.batch_size, crops, spec.seed, spec.patience),
            first_epoch=first_epoch,
            standing=standing,
            shard=self._shard,
            share=share,
        )

    def measured(self, report: ClassifierReport) -> tuple[dict[str, float], dict[str, Any]]:
        found = report.found
        assert found is not None
        figures = {"top1": found.top1, "top5": found.top5}
        if found.localization_error is not None:
            figures["localization_error"] = found.localization_error
        details: dict[str, Any] = {
            "per_class_recall": {each.label: each.recall for each in found.per_class},
            "data": {
                "images": len(self._train),
                "failures": dict(self._train.failures),
                "left_out": dict(self._left_out),
            },
        }
        if self._started is not None:
            details["started"] = started_text(self._started, self.spec.init or "", len(self.labels))
        return figures, details

    def finish(self, read_best: Callable[[], Checkpoint]) -> None:
        del read_best


def check_classifier_data(spec: ClassifierTrainSpec) -> None:
    """Refuse what no worker could train with, before any is started."""
    train, held_out = read_splits(spec)
    check_splits(spec, train, held_out)
    planned = plan_classifier(spec, train.dataset.labels)
    pictures, _ = (_pictures(spec, split, planned).pictures for split in (train, held_out))
    _check_classes(train, pictures)
    if spec.init is not None:
        with copying_to_meta():
            _start(planned, spec.init, spec)


def _check_classes(train: Split, pictures: tuple[Picture, ...]) -> None:
    labels = train.dataset.labels
    if len(labels) < 2:
        raise SpecError(f"{train.name} has one class, {labels[0]!r}: there is nothing to tell apart")
    empty = [label for label, count in zip(labels, _counts(pictures, labels), strict=True) if not count]
    if empty:
        raise SpecError(
            f"{train.name} has no image of {', '.join(map(repr, empty))}: add some, or remove the class"
        )


def _counts(pictures: tuple[Picture, ...], labels: tuple[str, ...]) -> list[int]:
    counts = Counter(picture.label_id for picture in pictures)
    return [counts[label_id] for label_id in range(len(labels))]


def plan_classifier(spec: ClassifierTrainSpec, labels: tuple[str, ...]) -> LabelModel:
    """The model without memory for its weights: whether its configuration holds, and what it reads.

    Raises:
        ModelError: for one that does not.
    """
    with torch.device("meta"):
        return _build(spec, labels)


def _build(spec: ClassifierTrainSpec, labels: tuple[str, ...]) -> LabelModel:
    model = build_entry(find_model(spec.model), labels, spec.config, name=spec.model)
    assert isinstance(model, Classifier | Localizer), "the spec admits classifiers"
    return model


def _start(model: LabelModel, init: str, spec: ClassifierTrainSpec) -> Started:
    body = read_part(init, spec.access)
    return start_classifier(model, body, name=init, sha256=pin_of(init, body, spec.sha256))


def started_text(started: Started, init: str, num_classes: int) -> str:
    """What is to be said of a run's first weights."""
    text = f"Started from {init}"
    if started.head_is_new and started.num_classes_before is not None:
        text += (
            f"; its head, of {started.num_classes_before:,} classes, was replaced by one of {num_classes:,}"
        )
    elif started.head_is_new:
        text += f"; a head of {num_classes:,} classes starts at random"
    return text + ("; the boxes' head starts at random" if started.boxes_are_new else "")


def _pictures(spec: ClassifierTrainSpec, split: Split, model: LabelModel) -> Labelled:
    own_ids = [model.labels.index(label) for label in split.dataset.labels]
    return labelled_pictures(
        split.dataset, own_ids, name=split.name, localizes=isinstance(model, Localizer), boxes=spec.boxes
    )


def _decode(split: Split, found: Labelled, canvas: Canvas, *, max_cached_bytes: int) -> PictureSet:
    made = PictureSet(found.pictures, split.source.read_image, canvas, max_cached_bytes=max_cached_bytes)
    check_decoded(split, made.failures)
    return made
