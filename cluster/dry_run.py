"""`--dry-run`: what would be done, without doing it."""

from __future__ import annotations

import os
from typing import Any

import yaml
from rich.console import Console

from cluster.console import Display
from jobs.calibration import read_calibration
from jobs.catalog import JOBS
from jobs.ledger import Ledger
from jobs.prepare import prepare
from jobs.purpose import NothingNewError, Purpose, to_detect
from jobs.ray_session import ray_session
from jobs.resources import ClusterShape, NodeShape, plan_resources
from jobs.scan import next_scan, to_score
from jobs.scan_spec import ScanSpec
from jobs.spec import PipelineSpec
from jobs.storage import open_store
from jobs.track import read_detected
from jobs.track_spec import TrackSpec


def print_dry_run(spec: PipelineSpec | TrackSpec, display: Display, *, address: str | None) -> None:
    """Print the canonical spec, the plan and the resources; nothing is claimed or written."""
    content: dict[str, Any] = {"spec": spec.model_dump(mode="json")}
    detect = spec.detect_spec() if isinstance(spec, TrackSpec) else spec
    if isinstance(detect, ScanSpec):
        content |= _scanning(detect, display, address=address)
    elif detect is not None:
        purpose = to_detect if isinstance(spec, TrackSpec) else JOBS[detect.job].purpose
        assert purpose is not None, "a job without a purpose of its own has a dry run of its own"
        content |= _detecting(detect, display, address=address, purpose=purpose(detect))
    elif isinstance(spec, TrackSpec):
        record = read_detected(spec).record
        content["detections"] = {
            "job_id": record.job_id,
            "model": record.model["name"],
            "inputs": record.num_inputs,
            "videos": record.num_videos,
            "units": record.num_units,
        }
    Console(highlight=False, emoji=False).print(
        yaml.safe_dump(content, sort_keys=False), markup=False, soft_wrap=True
    )


def _scanning(spec: ScanSpec, display: Display, *, address: str | None) -> dict[str, Any]:
    calibration = read_calibration(spec.calibration_uri, spec.storage.access())
    ledger = Ledger(spec.sink.uri, open_store(spec.sink.uri, spec.storage.access()))
    about = {
        "scan": ledger.last + 1,
        "score": calibration.file.score,
        "threshold": calibration.file.threshold().raw,
        "seen_before": len(ledger),
    }
    purpose = to_score(spec, calibration, ledger)
    try:
        return {
            "scanning": about,
            **_detecting(next_scan(spec, ledger), display, address=address, purpose=purpose),
        }
    except NothingNewError as error:
        return {"scanning": about, "plan": str(error)}


def _detecting(
    spec: PipelineSpec, display: Display, *, address: str | None, purpose: Purpose
) -> dict[str, Any]:
    prepared = prepare(spec, listener=display, purpose=purpose)
    shape = cluster_shape(address)
    resources = plan_resources(spec.resources, shape)
    facts, plan = prepared.facts, prepared.plan
    return {
        "plan": {
            "job_id": prepared.record.job_id,
            "inputs": plan.num_inputs,
            "images": plan.inputs.num_images,
            "videos": prepared.record.num_videos,
            "units": plan.num_units,
            "images_per_unit": plan.images_per_unit,
            "files": plan.num_files,
            "passed_over": prepared.record.skipped,
        },
        "model": {
            "name": prepared.record.model["name"],
            "input": f"{facts.input_spec.height}x{facts.input_spec.width} {facts.input_spec.fit}",
            "parameters": facts.num_parameters,
            "labels": len(facts.labels),
            "digests": prepared.model.digests,
        },
        "resources": {
            "cluster": str(shape),
            "actors": resources.actors,
            "cpus_per_actor": resources.cpus_per_actor,
            "gpus_per_actor": resources.gpus_per_actor,
            "threads_per_actor": resources.threads_per_actor,
            "decode_cpus": resources.decode_cpus,
        },
    }


def cluster_shape(address: str | None) -> ClusterShape:
    """What a named cluster has, or what an embedded one on this machine would have, without starting it."""
    if address or os.environ.get("RAY_ADDRESS"):
        with ray_session(address=address) as session:
            return session.shape
    import torch

    return ClusterShape((NodeShape(float(os.cpu_count() or 1), float(torch.cuda.device_count())),))
