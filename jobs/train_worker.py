"""What each training worker does: load, train epoch by epoch, leave a state after every one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import ray.train
import torch
from ray.train.collective import broadcast_from_rank_zero
from ray.train.torch import get_device
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cvcore.errors import ModelError, SpecError, VeedorError
from cvcore.train.batches import Shard
from cvcore.train.epochs import START
from cvcore.train.progress import LossIsNotFiniteError
from jobs.storage.roots import VARIABLE
from jobs.train_autoencoder import AutoencoderRun
from jobs.train_catalog import build_train_spec
from jobs.train_classifier import ClassifierRun
from jobs.train_detector import DetectorRun
from jobs.train_normals_spec import AutoencoderTrainSpec
from jobs.train_run import TrainRun, keep_epoch, keep_finish
from jobs.train_segmenter import SegmenterRun
from jobs.train_spec import ClassifierTrainSpec, DetectorTrainSpec, EpochsTrainSpec, SegmenterTrainSpec
from jobs.train_state import load_run


def train_worker(config: Mapping[str, Any]) -> VeedorError | None:
    """Ray Train's function: one replica's share of the run.

    A lone worker returns an error that no retry would mend; Ray Train would try again what it raises.

    `config` has the spec as JSON and the driver's `VEEDOR_ALLOWED_ROOTS`, which holds unless the worker has
    its own.
    """
    if config["allowed_roots"] is not None:
        os.environ.setdefault(VARIABLE, config["allowed_roots"])
    spec = build_train_spec(config["spec"], name="the run")
    assert isinstance(spec, EpochsTrainSpec), "what has no epochs needs no such worker"
    context = ray.train.get_context()
    shard = Shard(context.get_world_rank(), context.get_world_size())
    if spec.num_threads is not None:
        torch.set_num_threads(spec.num_threads)
    try:
        _train(spec, shard)
    except (SpecError, ModelError, LossIsNotFiniteError) as error:
        if shard.world_size > 1:  # only an error ends the others, which wait for this one
            raise
        return error
    return None


def _train(spec: EpochsTrainSpec, shard: Shard) -> None:
    torch.manual_seed(spec.seed)
    run = make_run(spec, shard)
    device = get_device()
    run.model.to(device)
    network: nn.Module = DistributedDataParallel(run.network()) if shard.world_size > 1 else run.network()
    bf16 = _computes_bf16(device) if spec.precision == "auto" else spec.precision == "bf16"
    progress = run.progress(network, bf16=bf16)
    saved = load_run(spec)
    if saved is not None:
        progress.restore(saved.progress)
    if saved is None or not saved.trained(spec):
        reports = run.reports(
            progress,
            first_epoch=len(saved.history) if saved else 0,
            standing=saved.standing if saved else START,
            share=lambda score: float(broadcast_from_rank_zero(score)),
        )
        for report in reports:
            if report.found is not None:
                saved = keep_epoch(run, progress, report, saved)
            # Without a barrier a failing worker could make others repeat an epoch that the first has kept.
            ray.train.report(
                {"epoch": report.epoch, "loss": report.terms["total"], "best": report.standing.best_score}
            )
    if shard.rank == 0:
        assert saved is not None, "a run has an epoch"
        keep_finish(run, saved)


def make_run(spec: EpochsTrainSpec, shard: Shard) -> TrainRun:
    """The run of a spec, with its data and the model's first weights."""
    if isinstance(spec, DetectorTrainSpec):
        return DetectorRun(spec, shard)
    if isinstance(spec, ClassifierTrainSpec):
        return ClassifierRun(spec, shard)
    if isinstance(spec, SegmenterTrainSpec):
        return SegmenterRun(spec, shard)
    assert isinstance(spec, AutoencoderTrainSpec), f"a kind of run without a worker: {type(spec).__name__}"
    return AutoencoderRun(spec, shard)


def _computes_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
