"""What a job runs a model for: what tells the jobs over images and frames apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from cvcore.errors import ModelError, SpecError
from cvcore.segment.tiles import tile_spans
from jobs.model_facts import ModelFacts
from jobs.spec import AnnotateSpec, PipelineSpec
from jobs.stages.tasks import ClassifyTask, DetectTask, SegmentTask, Task
from jobs.storage import ObjectInfo


class NothingNewError(SpecError):
    """There is nothing that was not taken before."""


def admit_any(digests: Mapping[str, str]) -> None:
    """Every model will do."""
    del digests


@dataclass(frozen=True)
class Purpose:
    """What a job runs a model for.

    Attributes:
        task: of the actors, by what the model can do; raises `ModelError` if it cannot do it.
        digests: of what decides the rows beside the model.
        admit: looks at the model's digests before anything is listed; raises `SpecError` for another's.
        unseen: passes on what is to be taken of what is listed; None takes all.
    """

    task: Callable[[ModelFacts], Task]
    digests: Mapping[str, str] = field(default_factory=dict)
    admit: Callable[[Mapping[str, str]], None] = admit_any
    unseen: Callable[[Iterable[ObjectInfo]], Iterable[ObjectInfo]] | None = None


def to_detect(spec: PipelineSpec) -> Purpose:
    """The purpose of finding what is tracked."""
    assert isinstance(spec, AnnotateSpec)

    def task(facts: ModelFacts) -> Task:
        if not facts.detects:
            raise ModelError(
                f"{spec.model.name} is not a detector, and tracks are made of detections "
                "(veedor models lists detectors)"
            )
        return DetectTask(spec.annotate.detect_options())

    return Purpose(task)


def to_annotate(spec: PipelineSpec, *, maps: bool = False) -> Purpose:
    """The purpose of an annotate job: to detect, to classify or to segment, as its model does.

    With `maps` it is to give class maps, and a model that gives none is refused.
    """
    assert isinstance(spec, AnnotateSpec)

    def task(facts: ModelFacts) -> Task:
        if facts.segments:
            return _segment_task(spec, facts)
        if not (facts.detects or facts.classifies):
            raise ModelError(
                f"{spec.model.name} is no detector, classifier or segmenter: annotate needs one of them "
                "(veedor models lists them)"
            )
        if spec.annotate.tile is not None or maps:
            what = "annotate.tile" if spec.annotate.tile is not None else "--maps"
            raise ModelError(
                f"{what} is of segmenters, and {spec.model.name} is none: leave it out "
                "(veedor models lists segmenters)"
            )
        if facts.detects:
            return DetectTask(spec.annotate.detect_options())
        return ClassifyTask(spec.annotate.top_k)

    return Purpose(task)


def _segment_task(spec: AnnotateSpec, facts: ModelFacts) -> SegmentTask:
    section = spec.annotate
    if section.tile is not None:
        try:
            tile_spans(
                2 * section.tile,
                tile_px=section.tile,
                overlap_px=section.overlap,
                stride_px=facts.stride_px,
            )
        except ValueError as error:
            raise ModelError(f"annotate.tile: {error}") from error
    return SegmentTask(
        section.tile,
        section.overlap,
        spec.limits.decode_limits(),
        spec.limits.bounds(),
        spec.storage.access(),
    )
