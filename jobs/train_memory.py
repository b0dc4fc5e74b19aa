"""Filling a PatchCore's memory from normal images: one pass in one worker."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import ray
import torch

from cvcore.anomaly.memory_bank import PatchCore, backbone_state
from cvcore.catalog import find_model
from cvcore.checkpoint import load_into, read_state_dict, save_checkpoint
from cvcore.errors import SpecError, VeedorError
from cvcore.models import build_entry
from jobs.model_files import pin_of, read_part
from jobs.outcome import JobFailed
from jobs.storage import base_name, join, open_store
from jobs.storage.roots import VARIABLE
from jobs.train_catalog import build_train_spec
from jobs.train_images import ImageFeed, pin_images, read_split
from jobs.train_normals_spec import MemoryTrainSpec
from jobs.train_record import TrainResult
from jobs.train_state import CHECKPOINT_NAME

BATCH = 16


def check_memory_data(spec: MemoryTrainSpec) -> bytes:
    """Refuse what no worker could work with; pins the images. Returns the backbone's weights.

    Raises:
        SpecError, ModelError: saying what is wrong.
    """
    build_entry(find_model(spec.model), None, spec.config, name=spec.model)
    weights = read_part(spec.backbone_weights, spec.access)
    pin_images(spec, held_out=0.0, at_least=1)
    return weights


def run_memory(spec: MemoryTrainSpec, weights: bytes) -> TrainResult:
    """Fill and keep the memory, on the cluster that is joined.

    Raises:
        SpecError: for images or weights that cannot be used.
        JobFailed: when the worker keeps dying.
    """
    config = {"spec": spec.model_dump(mode="json"), "allowed_roots": os.environ.get(VARIABLE)}
    remote = ray.remote(num_cpus=1, num_gpus=spec.gpus_per_worker or None, max_retries=spec.max_failures)(
        memory_worker
    )
    try:
        details = ray.get(remote.remote(config, weights))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, VeedorError):
            raise error.cause from error
        raise JobFailed(f"the memory could not be filled: {error.cause}") from error
    except ray.exceptions.RayError as error:
        raise JobFailed(f"the memory could not be filled: {error}") from error
    return TrainResult(join(spec.out, CHECKPOINT_NAME), (), -1, details)


def memory_worker(config: Mapping[str, Any], weights: bytes) -> dict[str, Any]:
    """Stream the images through the backbone and write the checkpoint; returns what to tell of it."""
    if config["allowed_roots"] is not None:
        os.environ.setdefault(VARIABLE, config["allowed_roots"])
    spec = build_train_spec(config["spec"], name="the run")
    assert isinstance(spec, MemoryTrainSpec)
    if spec.num_threads is not None:
        torch.set_num_threads(spec.num_threads)
    name = base_name(spec.weights or spec.backbone)
    model = build_entry(find_model(spec.model), None, spec.config, name=spec.model)
    assert isinstance(model, PatchCore)
    sha256 = pin_of(spec.backbone_weights, weights, spec.sha256)
    load_into(model, backbone_state(model, read_state_dict(weights, name=name, sha256=sha256)), name=name)
    if spec.gpus_per_worker:
        model.to("cuda")
    feed = ImageFeed(spec, read_split(spec).train, model.input_spec)

    def batches() -> Iterator[torch.Tensor]:
        for block in feed.blocks(range(feed.plan.num_units)):
            yield from torch.split(torch.from_numpy(block), BATCH)

    stored = model.remember(batches(), seed=spec.seed)
    failures = feed.failures()
    if feed.plan.num_inputs == sum(failures.values()):
        raise SpecError(f"none of the images of {spec.data} can be used")
    data = {"images": feed.plan.num_inputs, "digest": feed.plan.inputs.digest, "failures": failures}
    details = {"patches": stored, "data": data}
    body = save_checkpoint(
        model.state_dict(),
        model=spec.model,
        config=spec.config,
        labels=(),
        training={"recipe": spec.recipe, **details},
    )
    open_store(spec.out, spec.access).put(join(spec.out, CHECKPOINT_NAME), body)
    return details
