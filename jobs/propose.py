"""The propose job: class-independent boxes of every image and frame, into Parquet."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cvcore.errors import did_you_mean
from cvcore.propose.options import SelectiveSearchOptions, StrategyName
from jobs.model_facts import ModelFacts
from jobs.outcome import RunResult
from jobs.progress import Listener
from jobs.purpose import Purpose
from jobs.run_job import run_job
from jobs.spec import ModelSection, PipelineSpec, Precision, ResourcesSection, Section
from jobs.stages.tasks import ProposeTask, Task

METHODS = ("selective_search",)


class ProposeSection(Section):
    """How boxes are found (see `cvcore.propose.options.SelectiveSearchOptions`)."""

    strategy: StrategyName = "fast"
    max_boxes: Annotated[int, Field(ge=1)] = 2000
    seed: Annotated[int, Field(ge=0)] = 0

    def options(self) -> SelectiveSearchOptions:
        return SelectiveSearchOptions(strategy=self.strategy, max_boxes=self.max_boxes, seed=self.seed)


class ProposeSpec(PipelineSpec):
    """Find boxes that are likely to hold objects in every image and frame below a location.

    A search takes one CPU and one image at a time.
    """

    job: Literal["propose"] = "propose"
    model: ModelSection = ModelSection(name=METHODS[0])
    propose: ProposeSection = ProposeSection()
    resources: ResourcesSection = ResourcesSection(gpus_per_actor=0, batch_size=1)

    @model_validator(mode="after")
    def _known_method(self) -> Self:
        name = self.model.name
        if name not in METHODS:
            hint = did_you_mean(name, METHODS)
            raise ValueError(f"there is no method {name!r}.{hint} Methods: {', '.join(METHODS)}")
        return self

    @property
    def precision(self) -> Precision:
        """Of arithmetic that is not a network's."""
        return "fp32"


def run_propose(
    spec: ProposeSpec,
    *,
    listener: Listener,
    address: str | None = None,
    verbose: bool = False,
    sessions: ExitStack | None = None,
) -> RunResult:
    """`jobs.run_job.run_job`, to propose."""
    return run_job(
        spec, to_propose(spec), listener=listener, address=address, verbose=verbose, sessions=sessions
    )


def to_propose(spec: ProposeSpec) -> Purpose:
    """The purpose of a propose job."""

    def task(facts: ModelFacts) -> Task:
        del facts  # the spec admits methods only
        return ProposeTask(spec.propose.options())

    return Purpose(task)
