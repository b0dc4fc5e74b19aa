"""The metrics of jobs, by name. On each node Ray's agent gives them to Prometheus, with `ray_` before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

RAY_PREFIX: Final = "ray_"
JOB_LABELS: Final = ("job", "job_id")
UNIT_BOUNDS_S: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 300.0, 1000.0)


@dataclass(frozen=True)
class MetricEntry:
    """A metric.

    Attributes:
        labels: beside those of every job.
        bounds: of a histogram's buckets.
    """

    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def all_labels(self) -> tuple[str, ...]:
        return (*JOB_LABELS, *self.labels)


METRICS: Final[dict[str, MetricEntry]] = {
    "veedor_images_total": MetricEntry(
        "counter", "Images and frames whose rows were published, by outcome: ok or failed.", ("outcome",)
    ),
    "veedor_failures_total": MetricEntry(
        "counter", "Images and frames that failed, by their error code.", ("reason",)
    ),
    "veedor_unit_seconds": MetricEntry(
        "histogram", "Seconds that a unit took in a stage.", ("stage",), UNIT_BOUNDS_S
    ),
    "veedor_batch_size": MetricEntry("gauge", "Images that an actor computes at once."),
    "veedor_gpu_memory_bytes": MetricEntry(
        "gauge", "An actor's memory on its GPU: allocated, peak, and the device's total.", ("kind",)
    ),
    "veedor_inputs": MetricEntry(
        "gauge", "Inputs of the job: total, and published by this run and those before.", ("state",)
    ),
    "veedor_queue_images": MetricEntry("gauge", "Images that wait for a stage: infer or write.", ("stage",)),
    "veedor_actors": MetricEntry("gauge", "Replicas of the model: wanted, and ready.", ("state",)),
}


def series_names(name: str, entry: MetricEntry) -> tuple[str, ...]:
    """What Prometheus calls a metric's time series."""
    parts = ("_bucket", "_sum", "_count") if entry.kind == "histogram" else ("",)
    return tuple(f"{RAY_PREFIX}{name}{part}" for part in parts)
