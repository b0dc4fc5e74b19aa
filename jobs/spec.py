"""The job spec: strict, versioned, with one canonical form.

The same file runs on a laptop, through the Ray Jobs API and in Kubernetes. Secrets never stand in it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Final, Literal, Self, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from cvcore.errors import SpecError, did_you_mean
from cvcore.image.limits import FORMATS, DecodeLimits, ImageFormat
from cvcore.types import DetectOptions
from jobs.stages.guard import InputBounds
from jobs.storage import Access, resolve_location
from jobs.storage.endpoints import check_endpoint

SPEC_VERSION: Final = 1
UNDECISIVE: Final[dict[str, bool | set[str]]] = {
    "resources": True,
    "storage": {"timeout_s", "max_requests_per_s"},
    "limits": {"max_failed_fraction"},
}
MAX_SPEC_CHARS: Final = 2**20
_MAX_SHOWN_CHARS = 500

AnySpec = TypeVar("AnySpec", bound=BaseModel)
Location = Annotated[str, AfterValidator(resolve_location)]
Endpoint = Annotated[str, AfterValidator(check_endpoint)]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """Base of spec sections: no unknown keys, no changes after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class SourceSection(Section):
    """What to read: a folder or prefix, or one object.

    By default every object is taken whose extension is that of an image or a video, or which has none; what
    is passed over is counted and said. `media` narrows that; `include` and `exclude` are globs over the
    location below `uri`.
    """

    uri: Location
    media: Literal["all", "images", "videos"] = "all"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class VideoSection(Section):
    """Which frames of videos are looked at, and in which stream of a container that has several.

    All frames, or one of: `fps`, so many a second; `stride`, every n-th; `keyframes`. By default the stream
    is the one that players choose.
    """

    fps: Annotated[float, Field(gt=0)] | None = None
    stride: Annotated[int, Field(ge=1)] | None = None
    keyframes: bool = False
    stream: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.fps is not None) + (self.stride is not None) + self.keyframes > 1:
            raise ValueError("video.fps, video.stride and video.keyframes exclude each other: keep one")
        return self


class ModelSection(Section):
    """A catalogue name, a Darknet `.cfg` or a checkpoint, with weights and labels by location."""

    name: str = "tiny"
    weights: str | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    labels: str | None = None


class StorageSection(Section):
    """Which endpoint and profile; the secrets themselves stay in the environment or the profile.

    `timeout_s` and `max_requests_per_s`, of the whole job, change no row.
    """

    profile: str | None = None
    endpoint_url: Endpoint | None = None
    region: str | None = None
    timeout_s: Annotated[float, Field(gt=0)] = 20.0
    max_requests_per_s: Annotated[float, Field(gt=0)] | None = None

    def access(self, *, attempts: int = 8, processes: int = 1) -> Access:
        """How each of `processes` that work at once reaches the store: with an equal share of the rate."""
        rate = self.max_requests_per_s
        share = None if rate is None else rate / processes
        return Access(self.profile, self.endpoint_url, self.region, attempts, self.timeout_s, share)


class ResourcesSection(Section):
    """What to ask of the cluster. None means: chosen from the machine. Nothing here changes results."""

    actors: Annotated[int, Field(ge=1)] | None = None
    gpus_per_actor: Annotated[float, Field(ge=0)] | None = None
    cpus_per_actor: Annotated[float, Field(gt=0)] | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    max_bytes_in_flight: Annotated[int, Field(ge=64 * 2**20)] = 2 * 2**30


class LimitsSection(Section):
    """What an input may be and may take, and how many may fail before the job counts as failed.

    `max_seconds_per_input` and `max_memory_per_input` (bytes) bound the work on one input; what exceeds them
    costs that input's row. Where an image is looked at by tiles, the time is each tile's.
    """

    max_pixels: Annotated[int, Field(ge=1)] = 100_000_000
    max_bytes: Annotated[int, Field(ge=1)] = 256 * 2**20
    formats: tuple[ImageFormat, ...] = FORMATS
    extension_mismatch: Literal["fail", "allow"] = "fail"
    max_seconds_per_input: Annotated[float, Field(gt=0)] = 60.0
    max_memory_per_input: Annotated[int, Field(ge=64 * 2**20)] = 4 * 2**30
    max_failed_fraction: Fraction = 1.0

    def decode_limits(self) -> DecodeLimits:
        return DecodeLimits(
            max_pixels=self.max_pixels,
            max_bytes=self.max_bytes,
            formats=self.formats,
            extension_mismatch=self.extension_mismatch,
        )

    def bounds(self) -> InputBounds:
        return InputBounds(self.max_seconds_per_input, self.max_memory_per_input)


class SinkSection(Section):
    """Where results go. None means: chosen from the number of inputs."""

    uri: Location
    units_per_file: Annotated[int, Field(ge=1)] | None = None
    images_per_unit: Annotated[int, Field(ge=1, le=256)] | None = None
    single_writer: bool = False


class AnnotateSection(Section):
    """How raw outputs become detections (see `cvcore.types.DetectOptions`), `top_k` labels, or class maps.

    A segmenter looks at images whole, on its canvas, or by tiles at their own scale: `tile` and `overlap` are
    pixels (see `cvcore.segment.tiles.TileOptions`).
    """

    min_score: Fraction = 0.25
    nms_iou: Fraction = 0.45
    max_detections: Annotated[int, Field(ge=1)] = 100
    top_k: Annotated[int, Field(ge=1)] = 5
    tile: Annotated[int, Field(ge=16)] | None = None
    overlap: Annotated[int, Field(ge=0)] = 64
    precision: Precision = "auto"

    @model_validator(mode="after")
    def _tiles_overlap(self) -> Self:
        if self.tile is not None and 2 * self.overlap > self.tile:
            raise ValueError(
                f"annotate.overlap is {self.overlap} px, more than half of the tile's {self.tile} px"
            )
        return self

    def detect_options(self) -> DetectOptions:
        return DetectOptions(self.min_score, self.nms_iou, self.max_detections)


class JobSpec(Section):
    """What the specs of all jobs have in common."""

    def canonical(self) -> str:
        """The spec's one JSON form: every default filled in, keys sorted."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    def identity(self) -> str:
        """SHA-256 of what decides the rows: the canonical form without `UNDECISIVE`.

        Finishing a job on another machine, at another rate, or with more tolerance for failures, is the
        same job.
        """
        content = self.model_dump(mode="json", exclude=UNDECISIVE)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class PipelineSpec(JobSpec):
    """What the specs of jobs have in common that take every image and frame through a model."""

    version: Literal[1] = SPEC_VERSION
    job: str
    source: SourceSection
    video: VideoSection = VideoSection()
    model: ModelSection = ModelSection()
    storage: StorageSection = StorageSection()
    resources: ResourcesSection = ResourcesSection()
    limits: LimitsSection = LimitsSection()
    sink: SinkSection

    @model_validator(mode="after")
    def _sink_outside_source(self) -> Self:
        source, sink = self.source.uri.rstrip("/") + "/", self.sink.uri.rstrip("/") + "/"
        if source == sink:
            raise ValueError(f"sink.uri is the source itself ({source}): name another folder for results")
        return self

    @property
    def precision(self) -> Precision:
        """Of the network's arithmetic."""
        return "auto"


class ExactSpec(PipelineSpec):
    """What the specs of jobs have in common whose numbers are compared with those of other machines."""

    model: ModelSection

    @property
    def precision(self) -> Precision:
        """Always full."""
        return "fp32"


class AnnotateSpec(PipelineSpec):
    """Annotate every image, and every frame of every video, below a location.

    Objects are found in it, or it is classified, or each of its pixels is: as its model does.
    """

    job: Literal["annotate"] = "annotate"
    annotate: AnnotateSection = AnnotateSection()

    @model_validator(mode="after")
    def _tiles_are_of_images(self) -> Self:
        if self.annotate.tile is not None and self.source.media != "images":
            raise ValueError("annotate.tile is of images alone: set source.media to images")
        return self

    @property
    def precision(self) -> Precision:
        return self.annotate.precision


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader without aliases."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event: yaml.AliasEvent = self.get_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                problem=f"aliases (*{event.anchor}) are not read: write the value out"
            )
        return super().compose_node(parent, index)


def load_yaml(text: str, *, name: str) -> dict[str, Any]:
    """Read a YAML or JSON mapping, safely; raises `SpecError` for anything else.

    Tags are those of plain data, and there are no aliases: a few lines of them stand for gigabytes.
    """
    if len(text) > MAX_SPEC_CHARS:
        raise SpecError(f"{name} has more than {MAX_SPEC_CHARS:,} characters: is it a spec?")
    try:
        content = yaml.load(text, _PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise SpecError(f"{name} is not valid YAML: {reason[:_MAX_SHOWN_CHARS]}") from error
    if not isinstance(content, dict):
        raise SpecError(f"{name} holds no spec: a mapping with `source`, `model` and `sink` is expected")
    return content


def build_spec(content: dict[str, Any], *, name: str) -> AnnotateSpec:
    """Validate an annotate spec's content; raises `SpecError` with a line for each thing that is wrong."""
    return validate_spec(content, AnnotateSpec, name=name)


def validate_spec(content: dict[str, Any], spec_type: type[AnySpec], *, name: str) -> AnySpec:
    """Validate the content of any spec; raises `SpecError` with a line for each thing that is wrong."""
    try:
        return spec_type.model_validate(content)
    except ValidationError as error:
        lines = [_explain(dict(problem), spec_type) for problem in error.errors()]
        raise SpecError(f"{name} is not valid:\n" + "\n".join(f"  {line}" for line in lines)) from error


def _explain(problem: dict[str, Any], spec_type: type[BaseModel]) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        allowed = _keys_at(spec_type, problem["loc"][:-1])
        hint = did_you_mean(str(problem["loc"][-1]), allowed)
        return f"{where}: there is no such key.{hint} Allowed here: {', '.join(sorted(allowed))}."
    if problem["type"] == "missing":
        return f"{where}: this key is required."
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{where}: {message} (got {repr(problem['input'])[:_MAX_SHOWN_CHARS]})" if where else message


def _keys_at(spec_type: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """Keys allowed in the section that `path` leads to."""
    for part in path:
        field = spec_type.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        spec_type = annotation
    return list(spec_type.model_fields)
