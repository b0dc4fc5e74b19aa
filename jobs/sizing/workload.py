"""What a job has to do, and what each step of it takes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from cvcore.errors import SpecError, did_you_mean
from jobs.plan import choose_images_per_unit
from jobs.stages.decode import READ_AHEAD, READ_THREADS

DRIVER_S = 0.026
"""Of the driver's processor, a unit: 3.3 ms an image in units of 8 (`benchmarks/scaling.py`)."""


@dataclass(frozen=True, slots=True)
class StageTimes:
    """What one job's steps take, in seconds, as measured on the machines that will do them.

    Attributes:
        image_bytes: of an object, on average.
        request_s: until the first byte of an object.
        stream_bytes_per_s: of one connection, after that.
        decode_s: of an image, on one core.
        infer_s: of an image, on one replica, in batches.
        encode_s: of a unit's results, on one core.
        put_s: until the store has taken a unit's results.
        list_s: of 1,000 keys, all listing requests that run at once taken together.
        driver_s: of the driver's processor, a unit.
        startup_s: from the command until the first unit is begun.
        spread: standard deviation of an image's times over their mean.
    """

    image_bytes: float
    request_s: float
    decode_s: float
    infer_s: float
    encode_s: float = 0.02
    put_s: float = 0.05
    list_s: float = 0.01
    driver_s: float = DRIVER_S
    startup_s: float = 15.0
    stream_bytes_per_s: float = 50e6
    spread: float = 0.3

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < float("inf"):
                raise SpecError(f"{field.name} must be a number of at least 0, got {value}")
        if not self.decode_s + self.infer_s:
            raise SpecError("decode_s and infer_s are both 0: one of them must take time")
        if not self.stream_bytes_per_s:
            raise SpecError("stream_bytes_per_s must be above 0")

    @property
    def read_s(self) -> float:
        """Seconds that one connection needs for an image."""
        return self.request_s + self.image_bytes / self.stream_bytes_per_s

    @classmethod
    def from_json(cls, text: str, *, name: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            SpecError: for anything else, saying what is wrong.
        """
        try:
            content = json.loads(text)
        except ValueError as error:
            raise SpecError(f"{name} is no JSON: {error}") from error
        known = [field.name for field in fields(cls)]
        if not isinstance(content, dict):
            raise SpecError(f"{name} must hold an object with {', '.join(known)}")
        for key in content:
            if key not in known:
                raise SpecError(
                    f"{name}: there is no time {key!r}.{did_you_mean(key, known)} Times: {', '.join(known)}"
                )
        try:
            return cls(**content)
        except (TypeError, SpecError) as error:
            raise SpecError(f"{name}: {error}") from error

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)


@dataclass(frozen=True, slots=True)
class Workload:
    """A job over images.

    Attributes:
        num_images: at least 1.
        canvas_bytes: of one decoded image, as the model reads it.
        times: see `StageTimes`.
        images_per_unit: None for as many as a job would choose.
    """

    num_images: int
    canvas_bytes: int
    times: StageTimes
    images_per_unit: int | None = None

    def __post_init__(self) -> None:
        for name in ("num_images", "canvas_bytes"):
            if getattr(self, name) < 1:
                raise SpecError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.images_per_unit is not None and self.images_per_unit < 1:
            raise SpecError(f"images_per_unit must be at least 1, got {self.images_per_unit}")

    @property
    def unit_size(self) -> int:
        return self.images_per_unit or choose_images_per_unit(self.num_images, self.canvas_bytes)

    @property
    def num_units(self) -> int:
        return -(-self.num_images // self.unit_size)

    @property
    def planning_s(self) -> float:
        """Seconds of listing and planning before anything is read."""
        return self.times.list_s * self.num_images / 1000

    @property
    def reading_s(self) -> float:
        """Seconds that a unit's objects take by one task's connections."""
        return self.unit_size * self.times.read_s / READ_THREADS

    @property
    def ahead_s(self) -> float:
        """Seconds that those objects take which a unit reads before it decodes any."""
        return min(READ_AHEAD, self.unit_size) * self.times.read_s / READ_THREADS


def workload_facts(workload: Workload) -> dict[str, Any]:
    """What an answer says of the work."""
    return {
        "images": workload.num_images,
        "images_per_unit": workload.unit_size,
        "units": workload.num_units,
        "terabytes": workload.num_images * workload.times.image_bytes / 1e12,
    }
