"""Inputs that kill the process which works on them: found by bisection, set aside, one failed row each.

Ray repeats a crashed task a bounded number of times and then ends the pipeline. The units that began more
than once and never ended are suspects; their inputs are tried in processes of their own until the deadly ones
are known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import (
    ActorUnavailableError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    WorkerCrashedError,
)

from jobs.pipeline import Pipeline, run_pipeline
from jobs.progress import Listener
from jobs.set_aside import SetAside, StageName, set_aside
from jobs.sink import PartSummary
from jobs.stages.decode import DecodeStage, process_store
from jobs.stages.settings import InferSettings
from jobs.storage import is_s3

CRASHES = (WorkerCrashedError, RayActorError, OutOfMemoryError, NodeDiedError, ObjectLostError)
LOSSES = (ActorUnavailableError, NodeDiedError, ObjectLostError)  # of machines, by which no input is guilty
MIN_BEGINNINGS = 2
MAX_STALLS = 3
LOSS_WAIT_S = 10.0
MAX_LOSSES = 3


def run_surviving(pipeline: Pipeline, *, listener: Listener) -> Iterator[PartSummary]:
    """Run the pipeline's units; after a crash set the deadly inputs aside and go on with what is left.

    Raises:
        ray.exceptions.RayError: when it crashed `MAX_STALLS` times in a row without a unit published or an
            input found guilty, or failed otherwise.
    """
    units, stalls = pipeline.units, 0
    current = _refreshed(pipeline)
    while units:
        current, published = replace(current, units=units), set()
        try:
            for summary in run_pipeline(current):
                published.add(summary.number)
                yield summary
            return
        except CRASHES as error:
            units = [unit for unit in units if unit not in published]
            before = current.decode.quarantine.known
            listener.step(f"A worker died ({type(error).__name__}); looking for the input that did it")
            current = _refreshed(current)
            quarantine_suspects(current, spared=before)
            current = _refreshed(current)
            found = [item for row, item in current.decode.quarantine.known.items() if row not in before]
            stalls = 0 if found or published else stalls + 1
            if stalls == MAX_STALLS:
                raise
            if stalls and isinstance(error, LOSSES):
                time.sleep(LOSS_WAIT_S)  # until the cluster knows which of its nodes are gone
            for item in found:
                listener.step(f"Set aside {item.uri} ({item.reason}): {item.message}", uri=item.uri)


def _refreshed(pipeline: Pipeline) -> Pipeline:
    """The pipeline with what is set aside by now."""
    decode = pipeline.decode
    return replace(pipeline, decode=replace(decode, quarantine=decode.quarantine.refreshed()))


def quarantine_suspects(pipeline: Pipeline, *, spared: Collection[int]) -> None:
    """After a crash: find the deadly inputs among the suspects and set them aside, create-only.

    A unit with an input that is set aside and not `spared` ended for that known reason, and is not searched.
    """
    plan, quarantine = pipeline.plan, pipeline.decode.quarantine
    store = process_store(is_s3(quarantine.uri), quarantine.access)
    for stage, unit in pipeline.decode.tally.suspects(MIN_BEGINNINGS):
        start, count = plan.unit_rows(unit)
        rows = [row for row in range(start, start + count) if row not in quarantine.known]
        if any(row in quarantine.known and row not in spared for row in range(start, start + count)):
            continue
        for row in find_deadly(rows, _trial(pipeline, stage, unit)):
            item = SetAside(row, plan.uri_of(row), stage)
            set_aside(quarantine.uri, store, item, writer=quarantine.writer)


def find_deadly(rows: Sequence[int], survives: Callable[[Sequence[int]], bool]) -> list[int]:
    """The rows that are survived neither together with others nor, twice, alone.

    `survives(rows)` tries some rows in a fresh process. Rows that are deadly only in company are not found.
    """
    if not rows or survives(rows):
        return []
    if len(rows) == 1:
        return [] if survives(rows) else list(rows)
    middle = len(rows) // 2
    return find_deadly(rows[:middle], survives) + find_deadly(rows[middle:], survives)


def _trial(pipeline: Pipeline, stage: StageName, unit: int) -> Callable[[Sequence[int]], bool]:
    """A function that tries rows of a unit up to `stage`, in a process that may die.

    Rows that several machines were lost with are taken to survive: machines are not lost by reading images.
    """
    asked = pipeline.resources
    if stage == "decode":
        task = ray.remote(num_cpus=asked.decode_cpus, max_retries=0, max_calls=1)(_try_decoding)
        arguments: tuple[Any, ...] = (pipeline.decode, unit)
    else:
        options = {"num_cpus": asked.cpus_per_actor, "num_gpus": asked.gpus_per_actor}
        task = ray.remote(max_retries=0, max_calls=1, **options)(_try_inferring)
        # In a tuple, so that Ray hands on the reference rather than what it refers to.
        arguments = (pipeline.decode, unit, (pipeline.model,), pipeline.infer)

    def survives(rows: Sequence[int]) -> bool:
        for _ in range(MAX_LOSSES):
            try:
                ray.get(task.remote(list(rows), *arguments))
            except (WorkerCrashedError, OutOfMemoryError):
                return False
            except LOSSES:
                continue
            break
        return True

    return survives


def _try_decoding(rows: list[int], stage: DecodeStage, unit: int) -> None:
    stage.decode_rows(rows, unit=unit)


def _try_inferring(
    rows: list[int], stage: DecodeStage, unit: int, model: tuple[Any], settings: InferSettings
) -> None:
    from jobs.stages.infer import InferStage

    InferStage(model[0], settings).infer(stage.decode_rows(rows, unit=unit))
