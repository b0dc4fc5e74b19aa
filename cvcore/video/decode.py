"""Decode the frames of a segment onto a model's canvas, or a whole video to plain frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

import av.video.frame
import numpy as np
import numpy.typing as npt

from cvcore.errors import ImageError
from cvcore.image.fit import Fit
from cvcore.image.limits import DecodeLimits
from cvcore.types import InputSpec
from cvcore.video.read import FrameReader
from cvcore.video.scan import scan_video
from cvcore.video.source import AV_ERRORS, Source
from cvcore.video.upright import Converter, draw_frame, upright_rgb, upright_size

_DEFAULT_LIMITS = DecodeLimits()


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One wanted frame as its model reads it, or why it cannot.

    Attributes:
        frame_index: the frame's place in the stream, from 0, in order of presentation.
        timestamp_s: when it is shown, as the container states it; NaN if the container could not be opened.
        canvas: (H, W, 3) uint8 RGB, or None.
        fit: where the upright frame lies on it, or None.
        error: what is wrong with the frame, or None: `truncated`, `corrupt` or `too_large`.
    """

    frame_index: int
    timestamp_s: float
    canvas: npt.NDArray[np.uint8] | None = None
    fit: Fit | None = None
    error: ImageError | None = None


def decode_segment(
    file: BinaryIO,
    *,
    stream: int,
    frame_indices: Sequence[int],
    pts: Sequence[int],
    spec: InputSpec,
    limits: DecodeLimits = _DEFAULT_LIMITS,
    name: str | None = None,
    threads: int = 1,
) -> Iterator[VideoFrame]:
    """Decode frames of one stream onto the canvas of `spec`: exactly one result for each, in order.

    Decoding starts at the keyframe at or before the first frame, and ends behind the last. Frames are
    resized before they become RGB, each by its own size, turn and colour space. A frame that cannot be
    decoded, and those predicted from it, carry an error; the others are not affected.

    Args:
        file: seekable; it stays open, and is read as the frames are taken.
        stream: index in the container, from the scan.
        frame_indices, pts: of the same length, ascending, from the scan.
        limits: `max_pixels` is checked for each frame.
        name: file name or URI, for messages.
        threads: how many the decoder may use.

    Raises:
        ValueError: for lists that do not fit each other, or threads below 1.
        Exception: whatever `file` raises, so that no video is blamed for its store.
    """
    if len(frame_indices) != len(pts) or any(b <= a for a, b in pairwise(pts)):
        raise ValueError(
            f"{len(frame_indices)} frame indices and {len(pts)} pts: as many, ascending, are needed"
        )
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    return _decode(file, stream, frame_indices, pts, spec, limits, name, threads)


def _decode(
    file: BinaryIO,
    stream: int,
    frame_indices: Sequence[int],
    pts: Sequence[int],
    spec: InputSpec,
    limits: DecodeLimits,
    name: str | None,
    threads: int,
) -> Iterator[VideoFrame]:
    reader = FrameReader(Source(file), stream=stream, pts=pts, max_pixels=limits.max_pixels, threads=threads)
    converter = Converter()
    for index, time, outcome in zip(frame_indices, pts, reader.frames(), strict=True):
        seconds = math.nan if reader.time_base is None else float(int(time) * reader.time_base)
        if not isinstance(outcome, ImageError):
            try:
                canvas, fit = draw_frame(outcome, converter, spec)
            except AV_ERRORS as error:
                outcome = ImageError("corrupt", f"its pixels cannot be converted: {error}")
            else:
                yield VideoFrame(int(index), seconds, canvas, fit)
                continue
        label = f"{'video' if name is None else name}, frame {index}"
        yield VideoFrame(int(index), seconds, error=ImageError(outcome.code, f"{label}: {outcome}"))


def open_frames(
    file: BinaryIO,
    *,
    stream: int | None = None,
    limits: DecodeLimits = _DEFAULT_LIMITS,
    name: str | None = None,
    threads: int = 1,
) -> Iterator[tuple[int, float, npt.NDArray[np.uint8]]]:
    """Plain frames of a whole video, in order: (frame index, seconds, (H, W, 3) uint8 upright RGB).

    A frame that cannot be decoded is left out, which its index shows.

    Raises:
        ImageError: the codes of `scan_video`.
        Exception: whatever `file` raises.
    """
    scan = scan_video(file, name=name, stream=stream, limits=limits)
    reader = FrameReader(
        Source(file), stream=scan.stream, pts=scan.pts.tolist(), max_pixels=limits.max_pixels, threads=threads
    )
    converter = Converter()
    for index, frame in enumerate(reader.frames()):
        if isinstance(frame, av.video.frame.VideoFrame):
            height, width = upright_size(frame)
            pixels = upright_rgb(frame, converter, height=height, width=width)
            yield index, float(int(scan.pts[index]) * scan.time_base), np.ascontiguousarray(pixels)
