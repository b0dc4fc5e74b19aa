"""The segment job: a class for every pixel of every image and frame, into Parquet."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cvcore.errors import ModelError
from cvcore.segment.tiles import tile_spans
from jobs.model_facts import ModelFacts
from jobs.outcome import RunResult
from jobs.progress import Listener
from jobs.purpose import Purpose
from jobs.run_job import run_job
from jobs.spec import ModelSection, PipelineSpec, Precision, Section
from jobs.stages.tasks import SegmentTask, Task


class SegmentSection(Section):
    """How images are looked at: whole, on the model's canvas, or by tiles at their own scale.

    `tile` and `overlap` are pixels (see `cvcore.segment.tiles.TileOptions`).
    """

    tile: Annotated[int, Field(ge=16)] | None = None
    overlap: Annotated[int, Field(ge=0)] = 64
    precision: Precision = "auto"


class SegmentSpec(PipelineSpec):
    """Give every pixel of every image and frame below a location a class."""

    job: Literal["segment"] = "segment"
    model: ModelSection
    segment: SegmentSection = SegmentSection()

    @model_validator(mode="after")
    def _tiles_fit(self) -> Self:
        section = self.segment
        if section.tile is None:
            return self
        if 2 * section.overlap > section.tile:
            raise ValueError(
                f"segment.overlap is {section.overlap} px, more than half of the tile's {section.tile} px"
            )
        if self.source.media != "images":
            raise ValueError("segment.tile is of images alone: set source.media to images")
        return self

    @property
    def precision(self) -> Precision:
        """Of the network's arithmetic."""
        return self.segment.precision


def run_segment(
    spec: SegmentSpec,
    *,
    listener: Listener,
    address: str | None = None,
    verbose: bool = False,
    sessions: ExitStack | None = None,
) -> RunResult:
    """`jobs.run_job.run_job`, to segment."""
    return run_job(
        spec, to_segment(spec), listener=listener, address=address, verbose=verbose, sessions=sessions
    )


def to_segment(spec: SegmentSpec) -> Purpose:
    """The purpose of a segment job."""

    def task(facts: ModelFacts) -> Task:
        if not facts.segments:
            raise ModelError(f"{spec.model.name} is no segmenter (veedor models lists them)")
        section = spec.segment
        if section.tile is not None:
            try:
                tile_spans(
                    2 * section.tile,
                    tile_px=section.tile,
                    overlap_px=section.overlap,
                    stride_px=facts.stride_px,
                )
            except ValueError as error:
                raise ModelError(f"segment.tile: {error}") from error
        return SegmentTask(section.tile, section.overlap, spec.limits.decode_limits(), spec.storage.access())

    return Purpose(task)
