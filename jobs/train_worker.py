"""What each training worker does: load, train epoch by epoch, leave a state after every one."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray.train
import torch
from ray.train.collective import broadcast_from_rank_zero
from ray.train.torch import get_device
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cvcore.checkpoint import Checkpoint, load_into, read_checkpoint, save_checkpoint
from cvcore.detect.tiny import ANCHORS, STRIDES, TinyDetector, build_tiny
from cvcore.errors import SpecError
from cvcore.ops.anchors import fit_anchors
from cvcore.train.augment import AugmentOptions
from cvcore.train.batches import Batch, Shard, steps_per_epoch
from cvcore.train.epochs import START, Standing
from cvcore.train.loop import detector_loss
from cvcore.train.progress import OptimizeOptions, Progress
from cvcore.train.run import DetectorReport, RunOptions, detector_epochs
from cvcore.train.samples import Dataset, document_labels, load_dataset, read_document
from cvcore.types import InputSpec
from jobs.storage import join, open_store
from jobs.storage.roots import VARIABLE
from jobs.train_spec import EpochRecord, TrainSpec

CHECKPOINT_NAME = "model.safetensors"
HISTORY_NAME = "history.json"
STATE_NAME = "_veedor/train-state.pt"
DetectorProgress = Progress[TinyDetector, Batch]


@dataclass(frozen=True)
class SavedRun:
    """A run as its last finished epoch left it.

    Attributes:
        progress: for `Progress.restore`.
        history: every epoch so far.
        standing: the best of them.
        per_class_ap50: of the best epoch.
    """

    progress: dict[str, Any]
    history: tuple[EpochRecord, ...]
    standing: Standing
    per_class_ap50: dict[str, float]

    def ended(self, spec: TrainSpec) -> bool:
        """Whether `spec` asks for nothing more than what is done."""
        if len(self.history) >= spec.epochs:
            return True
        idle = len(self.history) - 1 - self.standing.best_epoch
        return spec.patience is not None and idle >= spec.patience


def load_run(spec: TrainSpec) -> SavedRun | None:
    """The state in `spec.out`, or None if there is none.

    Raises:
        SpecError: if another run left it.
    """
    store, location = open_store(spec.out, spec.access), join(spec.out, STATE_NAME)
    if not store.exists(location):
        return None
    try:
        saved = torch.load(io.BytesIO(store.read(location)), map_location="cpu", weights_only=True)
        digest = saved["digest"]
        run = SavedRun(
            saved["progress"],
            tuple(EpochRecord(**record) for record in saved["history"]),
            Standing(**saved["standing"]),
            saved["per_class_ap50"],
        )
    except (pickle.UnpicklingError, RuntimeError, LookupError, TypeError, ValueError, EOFError) as error:
        raise SpecError(
            f"{location} is damaged, or no state of a training run: delete it to start over"
        ) from error
    if digest != spec.digest:
        raise SpecError(
            f"{spec.out} holds the state of a run with other settings or data: "
            f"choose another folder for out, or delete {location} to start over"
        )
    return run


def save_run(spec: TrainSpec, run: SavedRun) -> None:
    """Replace the state in `spec.out`, and the readable history beside it."""
    history = [dataclasses.asdict(record) for record in run.history]
    body = io.BytesIO()
    torch.save(
        {
            "digest": spec.digest,
            "progress": run.progress,
            "history": history,
            "standing": dataclasses.asdict(run.standing),
            "per_class_ap50": run.per_class_ap50,
        },
        body,
    )
    store = open_store(spec.out, spec.access)
    store.put(join(spec.out, STATE_NAME), body.getvalue())
    store.put(join(spec.out, HISTORY_NAME), json.dumps(history, indent=1).encode())


def train_worker(config: Mapping[str, Any]) -> None:
    """Ray Train's function: one replica's share of the run.

    `config` has the `TrainSpec` as JSON and the driver's `VEEDOR_ALLOWED_ROOTS`, which holds unless the
    worker has its own.
    """
    if config["allowed_roots"] is not None:
        os.environ.setdefault(VARIABLE, config["allowed_roots"])
    spec = TrainSpec.model_validate(config["spec"])
    context = ray.train.get_context()
    shard = Shard(context.get_world_rank(), context.get_world_size())
    if spec.num_threads is not None:
        torch.set_num_threads(spec.num_threads)
    torch.manual_seed(spec.seed)
    document = read_document(partial(read_file, spec, spec.data))
    labels = document_labels(document)
    train, held_out, model = prepare_run(spec, labels)
    device = get_device()
    model.to(device)
    network: nn.Module = DistributedDataParallel(model) if shard.world_size > 1 else model
    bf16 = _computes_bf16(device) if spec.precision == "auto" else spec.precision == "bf16"
    compute = detector_loss(model, network, model.loss, bf16=bf16)
    progress = Progress(model, network, compute, _optimize_options(spec, train, shard))
    saved = load_run(spec)
    if saved is not None:
        progress.restore(saved.progress)
    reports = detector_epochs(
        progress,
        train,
        held_out,
        _run_options(spec, model.input_spec),
        first_epoch=len(saved.history) if saved else 0,
        standing=saved.standing if saved else START,
        shard=shard,
        share=lambda score: float(broadcast_from_rank_zero(score)),
    )
    for report in reports:
        if report.found is not None:
            saved = keep_epoch(spec, progress, report, saved)
        # Without a barrier a failing worker could make others repeat an epoch that the first has kept.
        ray.train.report(
            {"epoch": report.epoch, "loss": report.terms["total"], "ap50": report.standing.best_score}
        )


def read_file(spec: TrainSpec, folder: str, name: str) -> bytes:
    """Read a file of a dataset by its name inside `folder`; names that lead out of it are refused."""
    location = join(folder, name)
    if not location.startswith(folder.rstrip("/") + "/"):
        raise SpecError(f"{name!r} is no name inside {folder}: {folder}'s annotations name files below it")
    return open_store(folder, spec.access.within(folder)).read(location)


def prepare_run(spec: TrainSpec, labels: tuple[str, ...]) -> tuple[Dataset, Dataset, TinyDetector]:
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


def read_init(spec: TrainSpec, labels: tuple[str, ...]) -> Checkpoint | None:
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


def _optimize_options(spec: TrainSpec, train: Dataset, shard: Shard) -> OptimizeOptions:
    per_epoch = steps_per_epoch(len(train.samples), spec.batch_size, shard.world_size)
    total_steps = spec.epochs * per_epoch
    return OptimizeOptions(
        learning_rate=spec.lr,
        total_steps=total_steps,
        warmup_steps=min(spec.warmup_steps, total_steps // 4),
    )


def _computes_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def _run_options(spec: TrainSpec, canvas: InputSpec) -> RunOptions:
    augment = AugmentOptions(turn=spec.turn, color=spec.color, fill=canvas.fill)
    return RunOptions(spec.epochs, spec.batch_size, spec.seed, augment, patience=spec.patience)


def keep_epoch(
    spec: TrainSpec, progress: DetectorProgress, report: DetectorReport, saved: SavedRun | None
) -> SavedRun:
    """Write the checkpoint if it is the best, then the state: in this order, so that neither is lost."""
    metrics, terms = report.found, report.terms
    assert metrics is not None
    record = EpochRecord(
        report.epoch,
        terms["total"],
        terms["box"],
        terms["objectness"],
        terms["classes"],
        metrics.ap,
        metrics.ap50,
        metrics.ap75,
    )
    if report.is_best:
        _write_checkpoint(spec, progress, record, metrics.per_class_ap50)
    run = SavedRun(
        progress.state(),
        (*(saved.history if saved else ()), record),
        report.standing,
        metrics.per_class_ap50 if report.is_best or saved is None else saved.per_class_ap50,
    )
    save_run(spec, run)
    return run


def _write_checkpoint(
    spec: TrainSpec, progress: DetectorProgress, record: EpochRecord, per_class_ap50: Mapping[str, float]
) -> None:
    model = progress.average.model
    assert isinstance(model, TinyDetector)
    recipe = spec.model_dump(mode="json", exclude={"data", "val_data", "out", "init", "storage"})
    measured = {"ap": record.ap, "ap50": record.ap50, "ap75": record.ap75}
    body = save_checkpoint(
        model.state_dict(),
        model=spec.model,
        config=model.config,
        labels=model.labels,
        training={
            "recipe": recipe,
            "epoch": record.epoch,
            "held_out": {**measured, "per_class_ap50": {k: v for k, v in per_class_ap50.items() if v == v}},
        },
    )
    open_store(spec.out, spec.access).put(join(spec.out, CHECKPOINT_NAME), body)
