"""Detectors' training runs: their data, their first weights, and what their epochs report."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from cvcore.checkpoint import Checkpoint, load_into, read_checkpoint
from cvcore.detect.tiny import ANCHORS, STRIDES, TinyDetector, build_tiny
from cvcore.errors import SpecError
from cvcore.ops.anchors import fit_anchors
from cvcore.train.augment import AugmentOptions
from cvcore.train.batches import Batch, Shard, steps_per_epoch
from cvcore.train.epochs import ShareScore, Standing
from cvcore.train.loop import DetectorLoss, detector_loss
from cvcore.train.progress import Progress
from cvcore.train.run import DetectorReport, RunOptions, detector_epochs
from cvcore.train.samples import Dataset, document_labels, load_dataset, read_document
from cvcore.types import InputSpec
from jobs.storage import StorageError, join, open_store
from jobs.train_run import optimize_options
from jobs.train_spec import DetectorTrainSpec

DetectorProgress = Progress[TinyDetector, Batch]


class DetectorRun:
    """`jobs.train_run.TrainRun` of a detector."""

    def __init__(self, spec: DetectorTrainSpec, shard: Shard) -> None:
        self.spec = spec
        self.labels = document_labels(read_document(partial(read_file, spec, spec.data)))
        self._train, self._held_out, self.model = prepare_run(spec, self.labels)
        self._shard = shard

    @property
    def config(self) -> dict[str, Any]:
        return self.model.config

    def network(self) -> nn.Module:
        return DetectorLoss(self.model)

    def progress(self, network: nn.Module, *, bf16: bool) -> DetectorProgress:
        compute = detector_loss(self.model, network, bf16=bf16)
        steps = steps_per_epoch(len(self._train.samples), self.spec.batch_size, self._shard.world_size)
        return Progress(self.model, network, compute, optimize_options(self.spec, steps))

    def reports(
        self, progress: DetectorProgress, *, first_epoch: int, standing: Standing, share: ShareScore
    ) -> Iterator[DetectorReport]:
        return detector_epochs(
            progress,
            self._train,
            self._held_out,
            _run_options(self.spec, self.model.input_spec),
            first_epoch=first_epoch,
            standing=standing,
            shard=self._shard,
            share=share,
        )

    def measured(self, report: DetectorReport) -> tuple[dict[str, float], dict[str, Any]]:
        found = report.found
        assert found is not None
        known = {label: value for label, value in found.per_class_ap50.items() if value == value}
        return {"ap": found.ap, "ap50": found.ap50, "ap75": found.ap75}, {"per_class_ap50": known}


def check_detector_data(spec: DetectorTrainSpec) -> None:
    """Refuse what no worker could train with, before any is started."""
    documents = []
    for folder in (spec.data, spec.val_data):
        try:
            document = read_document(partial(read_file, spec, folder))
        except StorageError as error:
            raise SpecError(
                f"{folder} is no training data: it needs annotations.json and images/ ({error})"
            ) from error
        if not document["images"] or not document["annotations"]:
            raise SpecError(f"{folder}: annotations.json lists no images or no annotations")
        documents.append(document)
    train, held_out = (set(document_labels(document)) for document in documents)
    if held_out - train:
        raise SpecError(
            f"{spec.val_data} has categories {sorted(held_out - train)} that {spec.data} does not have; "
            f"those are {sorted(train)}"
        )
    if len(documents[0]["images"]) < spec.num_workers:
        raise SpecError(
            f"{spec.num_workers} workers need as many images, {spec.data} has {len(documents[0]['images'])}"
        )
    read_init(spec, document_labels(documents[0]))


def read_file(spec: DetectorTrainSpec, folder: str, name: str) -> bytes:
    """Read a file of a dataset by its name inside `folder`; names that lead out of it are refused."""
    location = join(folder, name)
    if not location.startswith(folder.rstrip("/") + "/"):
        raise SpecError(f"{name!r} is no name inside {folder}: {folder}'s annotations name files below it")
    return open_store(folder, spec.access.within(folder)).read(location)


def prepare_run(spec: DetectorTrainSpec, labels: tuple[str, ...]) -> tuple[Dataset, Dataset, TinyDetector]:
    """Both datasets on the model's canvas, and the model with its first weights."""
    options: dict[str, Any] = {}
    start = read_init(spec, labels)
    if start is not None:
        options = dict(start.config)
    if spec.width is not None:
        options["width"] = spec.width
    if spec.input_size is not None:
        options["input_size"] = spec.input_size
    canvas = build_tiny(labels, **options).input_spec
    train = load_dataset(partial(read_file, spec, spec.data), labels, canvas)
    held_out = load_dataset(partial(read_file, spec, spec.val_data), labels, canvas)
    if spec.anchors == "fit":
        options["anchors"] = _clustered(train, spec.seed)
    torch.manual_seed(spec.seed)
    model = build_tiny(labels, **options)
    if start is not None:
        load_into(model, start.state, name=str(spec.init))
    return train, held_out, model


def read_init(spec: DetectorTrainSpec, labels: tuple[str, ...]) -> Checkpoint | None:
    """The checkpoint to start from, if the spec names one.

    Raises:
        WeightsError: if it is none.
        SpecError: if it is another model's, or for other labels.
    """
    if spec.init is None:
        return None
    start = read_checkpoint(open_store(spec.init, spec.access).read(spec.init))
    if start.model != spec.model or start.labels != labels:
        raise SpecError(
            f"{spec.init} is a {start.model!r} for {list(start.labels)}; the run trains a {spec.model!r} "
            f"for {list(labels)}: leave init out to start from random weights"
        )
    return start


def _clustered(train: Dataset, seed: int) -> list[list[list[float]]]:
    """Anchors of the training boxes, three for each stride, small ones at fine strides."""
    sizes = torch.cat([sample.boxes[:, 2:] - sample.boxes[:, :2] for sample in train.samples])
    per_stride = len(ANCHORS[0])
    centers = fit_anchors(sizes, per_stride * len(STRIDES), seed=seed).tolist()
    return [centers[first : first + per_stride] for first in range(0, len(centers), per_stride)]


def _run_options(spec: DetectorTrainSpec, canvas: InputSpec) -> RunOptions:
    augment = AugmentOptions(turn=spec.turn, color=spec.color, fill=canvas.fill)
    return RunOptions(spec.epochs, spec.batch_size, spec.seed, augment, patience=spec.patience)
