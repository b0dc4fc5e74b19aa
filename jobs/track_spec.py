"""The spec of the track job."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cvcore.track.options import ByteTrackOptions, SortOptions
from jobs.spec import (
    SPEC_VERSION,
    AnnotateSection,
    AnnotateSpec,
    JobSpec,
    LimitsSection,
    Location,
    ModelSection,
    ResourcesSection,
    Section,
    SinkSection,
    SourceSection,
    StorageSection,
    VideoSection,
)
from jobs.storage import join

# ByteTrack's second association lives on what a detector is unsure of.
TRACKED_MIN_SCORE = 0.1


class TrackSection(Section):
    """Which tracker, and its parameters (see `cvcore.track`).

    `interpolate_gap`: where a track is not seen in at most so many frames, boxes are put between those where
    it is; 0 adds none.
    """

    tracker: Literal["bytetrack", "sort"] = "bytetrack"
    bytetrack: ByteTrackOptions = ByteTrackOptions()
    sort: SortOptions = SortOptions()
    interpolate_gap: Annotated[int, Field(ge=0, le=1000)] = 0

    @property
    def options(self) -> ByteTrackOptions | SortOptions:
        return self.bytetrack if self.tracker == "bytetrack" else self.sort


class TrackSpec(JobSpec):
    """Follow objects through videos: detect in `source`, or take the finished annotate run `detections`.

    Of a source, videos are taken alone. Its detections are a run of their own, in the folder `detections` of
    the sink, that other trackers can be tried on.
    """

    version: Literal[1] = SPEC_VERSION
    job: Literal["track"] = "track"
    source: SourceSection | None = None
    detections: Location | None = None
    video: VideoSection = VideoSection()
    model: ModelSection = ModelSection()
    annotate: AnnotateSection = AnnotateSection(min_score=TRACKED_MIN_SCORE)
    track: TrackSection = TrackSection()
    storage: StorageSection = StorageSection()
    resources: ResourcesSection = ResourcesSection()
    limits: LimitsSection = LimitsSection()
    sink: SinkSection

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.source is None) == (self.detections is None):
            raise ValueError(
                "name either source (videos to detect in) or detections (the --out of an annotate run)"
            )
        if self.detections is not None and self.detections.rstrip("/") == self.sink.uri.rstrip("/"):
            raise ValueError(f"sink.uri is the detections' own folder ({self.sink.uri}): name another folder")
        return self

    @property
    def detections_uri(self) -> str:
        """The annotate run that is tracked."""
        return self.detections or join(self.sink.uri, "detections")

    def detect_spec(self) -> AnnotateSpec | None:
        """The annotate job whose run is tracked, unless it was named."""
        if self.source is None:
            return None
        return AnnotateSpec(
            source=self.source.model_copy(update={"media": "videos"}),
            video=self.video,
            model=self.model,
            annotate=self.annotate,
            storage=self.storage,
            resources=self.resources,
            limits=self.limits,
            sink=self.sink.model_copy(update={"uri": self.detections_uri}),
        )
