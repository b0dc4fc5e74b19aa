"""Inputs that kill the process which works on them: found by bisection, set aside, one failed row each.

Ray repeats a crashed task a bounded number of times and then ends the pipeline. The units that began more
than once and never ended are suspects; their inputs are tried in processes of their own until the deadly ones
are known.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    WorkerCrashedError,
)

from jobs.pipeline import Pipeline, run_pipeline
from jobs.progress import Listener
from jobs.run_folder import RunFolder
from jobs.sink import PartSummary
from jobs.stages.decode import DecodeStage
from jobs.stages.infer import InferSettings, InferStage
from jobs.storage import Store, join

CRASHES = (WorkerCrashedError, RayActorError, OutOfMemoryError, NodeDiedError, ObjectLostError)
MIN_BEGINNINGS = 2
MAX_STALLS = 3

StageName = Literal["decode", "infer"]


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An input set aside: its row in the plan, and the stage whose process it ended."""

    row: int
    uri: str
    stage: StageName


def run_surviving(
    pipeline: Pipeline, folder: RunFolder, store: Store, *, writer: str, listener: Listener
) -> Iterator[PartSummary]:
    """Run the pipeline's units; after a crash set the deadly inputs aside and go on with what is left.

    Raises:
        ray.exceptions.RayError: when it crashed `MAX_STALLS` times in a row without a unit published or an
            input found guilty, or failed otherwise.
    """
    units, stalls = pipeline.units, 0
    while units:
        decode = replace(pipeline.decode, quarantined=read_quarantine(folder, store))
        current, published = replace(pipeline, units=units, decode=decode), set()
        try:
            for summary in run_pipeline(current):
                published.add(summary.number)
                yield summary
            return
        except CRASHES as error:
            units = [unit for unit in units if unit not in published]
            listener.step(f"A worker died ({type(error).__name__}); looking for the input that did it")
            found = quarantine_suspects(current, folder, store, writer=writer)
            stalls = 0 if found or published else stalls + 1
            if stalls == MAX_STALLS:
                raise
            for item in found:
                listener.step(f"Set aside {item.uri}: it ends the process that works on it", uri=item.uri)


def read_quarantine(folder: RunFolder, store: Store) -> dict[int, StageName]:
    """Rows of the plan that are set aside, with the stage that each one ended."""
    bodies = [store.read(join(folder.quarantine, name)) for name in store.list_names(folder.quarantine)]
    found = [Quarantined(**json.loads(body)) for body in bodies]
    return {item.row: item.stage for item in found}


def quarantine_suspects(
    pipeline: Pipeline, folder: RunFolder, store: Store, *, writer: str
) -> list[Quarantined]:
    """After a crash: find the deadly inputs among the suspects and set them aside, create-only."""
    found, plan = [], pipeline.plan
    for stage, unit in pipeline.decode.tally.suspects(MIN_BEGINNINGS):
        start, count = plan.unit_rows(unit)
        rows = [row for row in range(start, start + count) if row not in pipeline.decode.quarantined]
        for row in find_deadly(rows, _trial(pipeline, stage, unit)):
            item = Quarantined(row, plan.inputs.rows([row]).column("uri")[0].as_py(), stage)
            body = json.dumps(asdict(item)).encode()
            store.create(join(folder.quarantine, f"{row}.json"), body, writer=writer)
            found.append(item)
    return found


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
    """A function that tries rows of a unit up to `stage`, in a process that may die."""
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
        try:
            ray.get(task.remote(list(rows), *arguments))
        except (WorkerCrashedError, OutOfMemoryError):
            return False
        return True

    return survives


def _try_decoding(rows: list[int], stage: DecodeStage, unit: int) -> None:
    stage.decode_rows(rows, unit=unit)


def _try_inferring(
    rows: list[int], stage: DecodeStage, unit: int, model: tuple[Any], settings: InferSettings
) -> None:
    InferStage(model[0], settings).infer(stage.decode_rows(rows, unit=unit))
