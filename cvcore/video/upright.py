"""Decoded frames as upright RGB pixels, at their own size or straight on a model's canvas."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from cvcore.image.fit import Fit, place_content, plan_fit
from cvcore.types import InputSpec

# Bilinear in swscale widens its filter when it shrinks, as Pillow's does.
_BILINEAR = Interpolation.BILINEAR
# Chroma interpolated at full resolution and rounded to nearest.
_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT

# Formats that swscale resizes plane by plane and, at one size, converts to RGB by its own routine. Both
# steps together take less than half the time of one, and come as near to exact colours (1.5 levels) as one
# step without `_EXACT`, which is what other readers of videos do.
_FAST_FORMATS = ("yuv420p", "yuvj420p")


class Converter:
    """Resizes frames and converts them to RGB; keeps swscale's tables from frame to frame."""

    def __init__(self) -> None:
        self._resizing = VideoReformatter()
        self._coloring = VideoReformatter()

    def to_rgb(self, frame: VideoFrame, *, height: int, width: int) -> VideoFrame:
        """The frame as `rgb24` of this size, not turned, by the colour space and range that it states."""
        fast = frame.format.name in _FAST_FORMATS
        if fast and (frame.height, frame.width) != (height, width):
            frame = self._resizing.reformat(
                frame, width=width, height=height, interpolation=_BILINEAR, threads=1
            )
        return self._coloring.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            interpolation=_BILINEAR if fast else _EXACT,
            threads=1,
        )


def quarter_turns(frame: VideoFrame) -> int:
    """How often a frame is to be turned by 90° counter-clockwise (0 to 3) to be upright."""
    rotation = frame.rotation
    return round(rotation / 90) % 4 if rotation else 0


def upright_rgb(frame: VideoFrame, converter: Converter, *, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Resize a frame to `height` x `width` upright pixels, as RGB: (height, width, 3) uint8, a view.

    The frame's own colour space and range are used where it states them, else BT.601 of limited range.
    """
    turns = quarter_turns(frame)
    if turns % 2:
        height, width = width, height
    rgb = converter.to_rgb(frame, height=height, width=width)
    plane = rgb.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:height, : width * 3]
    pixels = rows.reshape(height, width, 3)
    return np.rot90(pixels, turns) if turns else pixels


def upright_size(frame: VideoFrame) -> tuple[int, int]:
    """Height and width of a frame, pixels, when it is upright."""
    turned = quarter_turns(frame) % 2
    return (frame.width, frame.height) if turned else (frame.height, frame.width)


def draw_frame(frame: VideoFrame, converter: Converter, spec: InputSpec) -> tuple[npt.NDArray[np.uint8], Fit]:
    """Draw a frame on the canvas of `spec`: (H, W, 3) uint8 RGB, and where the frame lies on it."""
    fit = plan_fit(*upright_size(frame), spec)
    content = upright_rgb(frame, converter, height=fit.content_height, width=fit.content_width)
    return place_content(content, fit, spec), fit
