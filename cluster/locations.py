"""What a spec reads and writes, by the keys that name it."""

from __future__ import annotations

from collections.abc import Iterator

from jobs.model_files import located, model_files
from jobs.spec import PipelineSpec
from jobs.track_spec import TrackSpec

AnyJobSpec = PipelineSpec | TrackSpec


def locations(spec: AnyJobSpec) -> Iterator[tuple[str, str]]:
    """The key, and the location. Models of the catalogue have none."""
    if spec.source is not None:
        yield "source.uri", spec.source.uri
    for name in ("detections", "calibration"):
        if (location := getattr(spec, name, None)) is not None:
            yield name, location
    for part, reference in model_files(spec.model).items():
        yield f"model.{part}", reference
    yield "sink.uri", spec.sink.uri


def rooted(spec: AnyJobSpec) -> AnyJobSpec:
    """The spec with its model's files named from the root: what is relative counts from this folder."""
    return spec.model_copy(update={"model": located(spec.model)})
