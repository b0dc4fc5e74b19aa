"""Which frames of a video are looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from cvcore.video.scan import VideoScan

SamplingMode = Literal["all", "fps", "stride", "keyframes"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How frames are chosen.

    Attributes:
        mode: `all` frames; at most `fps` a second; every `stride`-th, from the first on; `keyframes` only.
        fps: frames a second, above 0; for mode `fps` only.
        stride: at least 1; for mode `stride` only.
    """

    mode: SamplingMode = "all"
    fps: float | None = None
    stride: int | None = None

    def __post_init__(self) -> None:
        if self.mode not in get_args(SamplingMode):
            raise ValueError(f"mode must be one of {', '.join(get_args(SamplingMode))}, got {self.mode!r}")
        for name in ("fps", "stride"):
            if (getattr(self, name) is not None) != (self.mode == name):
                raise ValueError(
                    f"{name} belongs to mode '{name}' and to no other, got mode={self.mode!r} and "
                    f"{name}={getattr(self, name)}"
                )
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"fps must be above 0 and finite, got {self.fps}")
        if self.stride is not None and self.stride < 1:
            raise ValueError(f"stride must be at least 1, got {self.stride}")


def sample_frames(scan: VideoScan, sampling: Sampling) -> npt.NDArray[np.int64]:
    """Choose frames: (N,) int64 indices into `scan.pts`, ascending.

    With `fps`, each instant k/fps from the first frame's time on takes the first frame at or after it, and a
    frame is taken once; in whole numbers, so that it is exact at variable frame rates.
    """
    if sampling.mode == "keyframes":
        return np.flatnonzero(scan.keyframes).astype(np.int64)
    if sampling.fps is not None:
        return _sample_rate(scan, Fraction(str(sampling.fps)))
    return np.arange(0, len(scan), sampling.stride or 1, dtype=np.int64)


def _sample_rate(scan: VideoScan, fps: Fraction) -> npt.NDArray[np.int64]:
    """A frame is first at or after an instant if an instant lies in (time before, its time]."""
    if not len(scan):
        return np.zeros(0, np.int64)
    rate = fps * scan.time_base  # instants a unit of pts
    elapsed = scan.pts - scan.pts[0]
    if int(elapsed[-1]) * rate.numerator >= 2**62:
        elapsed = elapsed.astype(object)
    instants = elapsed * rate.numerator // rate.denominator  # the last one at or before each frame
    taken = np.concatenate(([True], np.asarray(np.diff(instants) > 0, np.bool_)))
    return np.flatnonzero(taken).astype(np.int64)
