"""`--dry-run`: what would be done, without doing it."""

from __future__ import annotations

import os

import yaml
from rich.console import Console

from cluster.console import Display
from jobs.prepare import prepare
from jobs.ray_session import ray_session
from jobs.resources import ClusterShape, NodeShape, plan_resources
from jobs.spec import AnnotateSpec


def print_dry_run(spec: AnnotateSpec, display: Display, *, address: str | None) -> None:
    """Print the canonical spec, the plan and the resources; nothing is claimed or written."""
    prepared = prepare(spec, listener=display)
    shape = cluster_shape(address)
    resources = plan_resources(spec.resources, shape)
    facts, plan = prepared.facts, prepared.plan
    content = {
        "spec": spec.model_dump(mode="json"),
        "plan": {
            "job_id": prepared.record.job_id,
            "inputs": plan.num_inputs,
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
    Console(highlight=False).print(yaml.safe_dump(content, sort_keys=False), markup=False, soft_wrap=True)


def cluster_shape(address: str | None) -> ClusterShape:
    """What a named cluster has, or what an embedded one on this machine would have, without starting it."""
    if address or os.environ.get("RAY_ADDRESS"):
        with ray_session(address=address) as session:
            return session.shape
    import torch

    return ClusterShape((NodeShape(float(os.cpu_count() or 1), float(torch.cuda.device_count())),))
