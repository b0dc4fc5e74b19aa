"""The one data flow on Ray Data: read · decode -> infer -> publish, a unit at a time."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset, ExecutionResources

from jobs.lost_nodes import ending_what_waits
from jobs.plan import Plan
from jobs.resources import ResourcePlan
from jobs.sink import PartSummary
from jobs.stages.actors import InferActor, WholeUnitActor
from jobs.stages.decode import MAX_TASK_RETRIES, DecodeStage, bounding_retries, decoded_units
from jobs.stages.publish import PublishSettings, publish_unit, read_summaries
from jobs.stages.settings import InferSettings

MAX_ACTOR_RESTARTS = 2


@dataclass(frozen=True)
class Pipeline:
    """Everything that a run's dataset is built from."""

    plan: Plan
    units: list[int]
    resources: ResourcePlan
    decode: DecodeStage
    model: ray.ObjectRef
    infer: InferSettings
    publish: PublishSettings
    max_bytes_in_flight: int
    verbose: bool = False

    @property
    def num_actors(self) -> int:
        """Never more than there are units."""
        return min(self.resources.actors, len(self.units))


def run_pipeline(pipeline: Pipeline) -> Iterator[PartSummary]:
    """Run the pending units, yielding each as it is published.

    Raises:
        ray.exceptions.RayError: when a stage fails for good; what was published stays published.
    """
    pool = uuid.uuid4().hex

    def end_pool() -> None:
        pipeline.infer.tally.end_pool(pool)

    try:
        with ending_what_waits(end_pool) as published:
            dataset = build_dataset(pipeline, pool=pool)
            for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
                published()
                yield from read_summaries(batch)
    finally:
        # Ray Data drops its handles and leaves the rest to the last one's end. A kept error, a cycle, or a
        # thread of its executor that is late would hold the CPUs and GPUs that the next run waits for.
        end_pool()


def build_dataset(pipeline: Pipeline, *, pool: str) -> Dataset:
    """The lazily executed dataset of a run: a block and a row of summary for each unit.

    Its actors enter `pool` on the board.
    """
    context = DataContext.get_current()
    context.target_max_block_size = None  # one unit, one block
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    context.print_on_execution_start = False
    context.memory_usage_poll_interval_s = None  # what a task takes is bounded by us
    context.execution_options.resource_limits = ExecutionResources.for_limits(
        object_store_memory=pipeline.max_bytes_in_flight
    )
    if not pipeline.verbose:
        logging.getLogger("ray.data").setLevel(logging.CRITICAL + 1)
    with bounding_retries():
        return _one_stage(pipeline, pool) if pipeline.resources.fused else _three_stages(pipeline, pool)


def _three_stages(pipeline: Pipeline, pool: str) -> Dataset:
    """Decoding tasks feed the actors, which hold GPUs; writing tasks take from them."""
    asked = pipeline.resources
    decoded = decoded_units(
        pipeline.decode,
        pipeline.units,
        rows_per_unit=pipeline.plan.unit_size(pipeline.units[0]),
        num_cpus=asked.decode_cpus,
    )
    inferred = decoded.map_batches(
        InferActor,
        fn_constructor_args=(pool, pipeline.model, pipeline.infer),
        **_actor_options(pipeline),
    )
    return inferred.map_batches(
        publish_unit,
        fn_kwargs={"settings": pipeline.publish},
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        num_cpus=asked.publish_cpus,
        max_retries=MAX_TASK_RETRIES,
    )


def _one_stage(pipeline: Pipeline, pool: str) -> Dataset:
    """Each actor does whole units."""
    rows = [{"unit": unit} for unit in pipeline.units]
    numbers = ray.data.from_items(rows, override_num_blocks=len(rows))  # one unit, one block
    return numbers.map_batches(
        WholeUnitActor,
        fn_constructor_args=(pool, pipeline.model, pipeline.infer, pipeline.decode, pipeline.publish),
        **_actor_options(pipeline, concurrent_units=WholeUnitActor.CONCURRENT_UNITS),
    )


def _actor_options(pipeline: Pipeline, *, concurrent_units: int = 1) -> dict[str, Any]:
    asked = pipeline.resources
    return {
        "batch_size": None,
        "batch_format": "pyarrow",
        "zero_copy_batch": True,
        "compute": ActorPoolStrategy(
            size=pipeline.num_actors,
            max_concurrent_calls_per_actor=concurrent_units,
            enable_true_multi_threading=concurrent_units > 1,
            max_tasks_in_flight_per_actor=concurrent_units if concurrent_units > 1 else None,
        ),
        "num_cpus": asked.cpus_per_actor,
        "num_gpus": asked.gpus_per_actor or None,
        "max_restarts": MAX_ACTOR_RESTARTS,
        "max_task_retries": MAX_TASK_RETRIES,
    }
