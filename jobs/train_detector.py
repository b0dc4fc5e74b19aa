"""Detectors' training runs: their data, their first weights, and what their epochs report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from cvcore.catalog import DARKNET, find_model, is_cfg
from cvcore.checkpoint import Checkpoint, load_into
from cvcore.detect.base import ProposalDetector, TrainableDetector
from cvcore.errors import SpecError
from cvcore.models import build_entry
from cvcore.ops.anchors import fit_anchors
from cvcore.train.batches import Batch, Shard, collate, plain_view
from cvcore.train.epochs import ShareScore, Standing
from cvcore.train.kept import Kept
from cvcore.train.loop import DetectorLoss, detector_loss, evaluate
from cvcore.train.mosaic import NUM_TILES
from cvcore.train.progress import Progress
from cvcore.train.run import DetectorReport, detector_epochs
from cvcore.train.samples import Dataset, Sample, load_samples
from jobs.model_files import read_part
from jobs.train_data import Split, cache_shares, check_decoded, check_splits, read_splits
from jobs.train_run import Finished, copying_to_meta, dataset_progress
from jobs.train_spec import DetectorTrainSpec
from jobs.train_views import begin, run_options, view_steps

DetectorProgress = Progress[TrainableDetector, Batch]


class DetectorRun:
    """`jobs.train_run.TrainRun` of a detector."""

    def __init__(self, spec: DetectorTrainSpec, shard: Shard) -> None:
        self.spec = spec
        self._train, self._held_out, self.model = prepare_run(spec, measures=shard.rank == 0)
        self.labels = self.model.labels
        self._shard = shard

    @property
    def config(self) -> dict[str, Any]:
        return self.model.config

    @property
    def model_name(self) -> str:
        return DARKNET if is_cfg(self.spec.model) else self.spec.model

    def network(self) -> nn.Module:
        return DetectorLoss(self.model)

    def progress(self, network: nn.Module, *, bf16: bool) -> DetectorProgress:
        compute = detector_loss(self.model, network, bf16=bf16)
        count = len(self._train.samples)
        return dataset_progress(self.spec, self.model, network, compute, num_samples=count, shard=self._shard)

    def reports(
        self, progress: DetectorProgress, *, first_epoch: int, standing: Standing, share: ShareScore
    ) -> Iterator[DetectorReport]:
        return detector_epochs(
            progress,
            self._train,
            self._held_out,
            run_options(self.spec, self.model, sizes=canvas_sizes(self.spec, self.model)),
            first_epoch=first_epoch,
            standing=standing,
            shard=self._shard,
            share=share,
        )

    def measured(self, report: DetectorReport) -> tuple[dict[str, float], dict[str, Any]]:
        held_out = report.found
        assert held_out is not None
        found, masks = held_out.boxes, held_out.masks
        known = {label: value for label, value in found.per_class_ap50.items() if value == value}
        of_masks = {} if masks is None else {"mask_ap": masks.ap, "mask_ap50": masks.ap50}
        data = {"images": len(self._train.document["images"]), "failures": dict(self._train.failures)}
        return {"ap": found.ap, "ap50": found.ap50, "ap75": found.ap75, **of_masks}, {
            "per_class_ap50": known,
            "data": data,
        }

    def finish(self, read_best: Callable[[], Checkpoint]) -> Finished | None:
        model = self.model
        if not model.finishes:
            return None
        best = read_best()
        load_into(model, best.state)
        model.finish(self._plain_batches, seed=self.spec.seed)
        found = evaluate(model.eval(), self._held_out).boxes
        told = {"epoch_ap50": best.training["held_out"]["ap50"], "ap50": found.ap50, "ap": found.ap}
        return Finished(best, model.state_dict(), told)

    def _plain_batches(self) -> Iterator[Batch]:
        samples = self._train.samples
        for first in range(0, len(samples), self.spec.batch_size):
            yield collate([plain_view(sample) for sample in samples[first : first + self.spec.batch_size]])


def check_detector_data(spec: DetectorTrainSpec) -> None:
    """Refuse what no worker could train with, before any is started."""
    train, held_out = read_splits(spec)
    for split in (train, held_out):
        if split.dataset.task != "boxes" or not split.dataset.num_boxes:
            raise SpecError(
                f"{split.name} has {len(split.dataset.images)} images and no boxes: a detector learns from "
                "boxes (veedor dataset check says what was found)"
            )
    check_splits(spec, train, held_out)
    planned = plan_detector(spec, train.dataset.labels)
    if planned.learns_masks:
        for split in (train, held_out):
            _check_masks(spec, split)
    if spec.anchors == "fit" and not planned.num_anchors:
        raise SpecError(f"{spec.model} has no anchors to fit: leave anchors out")
    if spec.multi_scale and not planned.canvas_step:
        raise SpecError(f"{spec.model} has one canvas only: leave multi_scale out")
    with copying_to_meta():
        begin(planned, spec)
    if "mosaic" in view_steps(spec, planned) and len(train.dataset.images) < NUM_TILES:
        raise SpecError(
            f"mosaic joins {NUM_TILES} images, {train.name} has {len(train.dataset.images)}: leave it out of "
            "augment"
        )


def _check_masks(spec: DetectorTrainSpec, split: Split) -> None:
    """Refuse a split with objects that have no mask; wrong ones are found when they are drawn."""
    facts = [each for image in split.dataset.images for each in image.attributes if not each.get("crowd")]
    without = sum(not each.get("segmentation") for each in facts)
    if without:
        raise SpecError(
            f"{spec.model} learns from masks, and {without:,} of the {len(facts):,} objects of {split.name} "
            "have none: COCO has them as segmentation, YOLO as polygons; other detectors need boxes alone"
        )


def prepare_run(
    spec: DetectorTrainSpec, *, measures: bool = True
) -> tuple[Dataset, Dataset, TrainableDetector]:
    """Both datasets on the model's canvas, see `read_splits`, and the model with its first weights."""
    splits = read_splits(spec, measures=measures)
    labels = splits[0].dataset.labels
    planned = plan_detector(spec, labels)
    train, held_out = (
        load_samples(
            split.dataset,
            split.source.read_image,
            labels,
            planned.input_spec,
            masks=planned.learns_masks,
            max_cached_bytes=share,
        )
        for split, share in zip(splits, cache_shares(spec, splits), strict=True)
    )
    for split, dataset in zip(splits, (train, held_out), strict=True):
        check_decoded(split, dataset.failures)
    more: dict[str, Any] = {}
    if spec.anchors == "fit":
        more["anchors"] = _clustered(train, planned.num_anchors, spec.seed)
    torch.manual_seed(spec.seed)
    model = _build(spec, labels, more)
    begin(model, spec)
    if isinstance(model, ProposalDetector):
        train, held_out = (_with_proposals(dataset, model) for dataset in (train, held_out))
    return train, held_out, model


def plan_detector(spec: DetectorTrainSpec, labels: tuple[str, ...]) -> TrainableDetector:
    """The model without memory for its weights: whether its configuration holds, and what it reads.

    Raises:
        ModelError: for one that does not.
    """
    with torch.device("meta"):
        return _build(spec, labels, {})


def _build(spec: DetectorTrainSpec, labels: tuple[str, ...], more: dict[str, Any]) -> TrainableDetector:
    name, config = spec.model, spec.config | more
    if is_cfg(name):
        name, config = DARKNET, config | {"cfg": read_part(name, spec.access).decode(errors="replace")}
    model = build_entry(find_model(name), labels, config, name=spec.model)
    assert isinstance(model, TrainableDetector), "the spec admits detectors that train"
    return model


def _with_proposals(dataset: Dataset, model: ProposalDetector) -> Dataset:
    def extend(sample: Sample) -> Callable[[Sample], Sample]:
        found = model.propose(torch.from_numpy(sample.canvas), sample.fit)
        return lambda again: replace(again, proposals=found)

    assert isinstance(dataset.samples, Kept)
    return replace(dataset, samples=dataset.samples.extended(extend))


def _clustered(train: Dataset, num_anchors: int, seed: int) -> list[list[float]]:
    """Anchors of the training boxes, smallest first."""
    sizes = torch.cat([sample.boxes[:, 2:] - sample.boxes[:, :2] for sample in train.samples])
    try:
        found: list[list[float]] = fit_anchors(sizes, num_anchors, seed=seed).tolist()
    except ValueError as error:
        raise SpecError(f"anchors cannot be fitted: {error}") from error
    return found


def canvas_sizes(spec: DetectorTrainSpec, model: TrainableDetector) -> tuple[int, ...]:
    """YOLOv2's range of canvases, 320 to 608 for 416, for the model's own side; none unless asked for."""
    if not spec.multi_scale:
        return ()
    step = model.canvas_step
    smallest, largest = (round(side * model.input_spec.height / 416 / step) * step for side in (320, 608))
    return tuple(range(max(step, smallest), largest + 1, step))
