"""From a job's spec and options to the objects that `kubectl apply` makes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final, Literal

from cluster.kubernetes.cron_job import Schedule, cron_job_spec
from cluster.kubernetes.names import MAX_CHARS, check_name, corrected
from cluster.kubernetes.options import KubernetesSection
from cluster.kubernetes.places import check_reachable, placed
from cluster.kubernetes.pods import SPEC_FILE, Manifest
from cluster.kubernetes.ray_cluster import ray_cluster_spec
from cluster.kubernetes.ray_job import ray_cron_job_spec, ray_job_spec
from cluster.kubernetes.sizes import Fleet, plan_fleet
from cluster.kubernetes.yaml_text import yaml_text
from cluster.locations import AnyJobSpec
from cluster.schedules.adding import refuse_secrets
from cvcore.errors import SpecError

Kind = Literal["RayJob", "RayCluster", "RayCronJob", "CronJob"]
API_VERSIONS: Final = {"RayJob": "ray.io/v1", "RayCluster": "ray.io/v1", "RayCronJob": "ray.io/v1"}
KUEUE_LABEL: Final = "kueue.x-k8s.io/queue-name"
DIGEST_CHARS: Final = 10
MAX_MAP_BYTES: Final = 2**20 - 2**12
"""A ConfigMap holds a MiB, with its other fields."""


@dataclass(frozen=True)
class Order:
    """What is to be made.

    Attributes:
        spec: of the job.
        options: with an image.
        kind: of the object beside the ConfigMap.
        title: what the objects are named after, unless there is a name.
        name: of the object; None makes one of the title, and of a RayJob of its spec too.
        schedule: of the kinds that have one.
    """

    spec: AnyJobSpec
    options: KubernetesSection
    kind: Kind
    title: str
    name: str | None = None
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        if self.options.image is None:
            raise SpecError(
                "no image is named: give --image, or kubernetes.image in --config. docs/kubernetes.md says "
                "how one is built"
            )
        if (self.schedule is not None) != (self.kind in ("RayCronJob", "CronJob")):
            raise ValueError(f"a {self.kind} {'has no' if self.schedule else 'needs a'} schedule")


def build_manifests(order: Order) -> list[Manifest]:
    """The objects, in the order in which they are made.

    Raises:
        SpecError: for what Kubernetes or KubeRay would refuse, or the job when it starts.
    """
    options, kind = order.options, order.kind
    spec = placed(order.spec, options, scheduled=kind == "CronJob")
    if kind == "RayCronJob" and spec.job != "scan":
        raise SpecError(
            f"a RayCronJob runs the same {spec.job} job each time, and what is done is not done again: give "
            "--store instead of --ray-cron-job, and {date} or {tick} in sink.uri"
        )
    if kind == "CronJob" and order.schedule is not None:
        check_reachable("--store", order.schedule.store, options.volumes, written=True)
    fleet = plan_fleet(spec.resources, options, lasting=kind == "RayCluster")
    text = spec_text(spec)
    digest = hashlib.sha256(text.encode()).hexdigest()
    name = _name(order, digest)
    if kind == "RayCluster":
        return [_object(order, name, ray_cluster_spec(options, fleet, spec_map=None))]
    spec_map = f"{name}-spec" if name.endswith(digest[:DIGEST_CHARS]) else f"{name}-{digest[:DIGEST_CHARS]}"
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(order, spec_map, {"veedor/spec-sha256": digest}),
        "immutable": True,
        "data": {SPEC_FILE: text},
    }
    return [config, _object(order, name, _spec(order, fleet, spec_map), {"veedor/spec-sha256": digest})]


def spec_text(spec: AnyJobSpec) -> str:
    """A spec as YAML, with what was given and no defaults: the same job, wherever it is read.

    Raises:
        SpecError: if it is larger than a ConfigMap.
    """
    content: dict[str, Any] = {"job": spec.job, **spec.model_dump(mode="json", exclude_unset=True)}
    refuse_secrets(
        content,
        name="the spec",
        why="a ConfigMap is for all to read. Credentials come from a Secret (--secret) or --service-account",
    )
    text = yaml_text([content])
    if len(text.encode()) > MAX_MAP_BYTES:
        raise SpecError(
            f"the spec has {len(text.encode()):,} bytes, a ConfigMap holds {MAX_MAP_BYTES:,}: shorten "
            "source.include and source.exclude"
        )
    return text


def _spec(order: Order, fleet: Fleet, spec_map: str) -> Manifest:
    options, schedule = order.options, order.schedule
    if schedule is None:
        return ray_job_spec(options, fleet, spec_map=spec_map)
    if order.kind == "CronJob":
        return cron_job_spec(options, fleet, schedule, spec_map=spec_map)
    if options.queue is not None:
        raise SpecError(
            "a RayCronJob does not hand labels on to its jobs, so Kueue would not see them: drop the queue"
        )
    return ray_cron_job_spec(
        options, fleet, spec_map=spec_map, cron=schedule.cron, timezone=schedule.timezone
    )


def _name(order: Order, digest: str) -> str:
    """Of a job, with the spec's digest: applied again it is the same job, and altered another one."""
    limit = MAX_CHARS[order.kind]
    if order.name is not None:
        return check_name(order.name, order.kind)
    if order.kind != "RayJob":
        return corrected(order.title, limit)
    return f"{corrected(order.title, limit - DIGEST_CHARS - 1)}-{digest[:DIGEST_CHARS]}"


def _object(order: Order, name: str, spec: Manifest, annotations: dict[str, str] | None = None) -> Manifest:
    metadata = _metadata(order, name, annotations or {})
    if order.options.queue is not None:
        metadata["labels"][KUEUE_LABEL] = order.options.queue
    return {
        "apiVersion": API_VERSIONS.get(order.kind, "batch/v1"),
        "kind": order.kind,
        "metadata": metadata,
        "spec": spec,
    }


def _metadata(order: Order, name: str, annotations: dict[str, str]) -> Manifest:
    made: Manifest = {"name": name}
    if order.options.namespace is not None:
        made["namespace"] = order.options.namespace
    made["labels"] = {
        "app.kubernetes.io/name": "veedor",
        "app.kubernetes.io/managed-by": "veedor",
        "app.kubernetes.io/component": order.spec.job,
        **order.options.labels,
    }
    if annotations:
        made["annotations"] = annotations
    return made
