"""Decoded frames as upright RGB pixels, at their own size or straight on a model's canvas."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from cvcore.image.fit import Fit, plan_fit
from cvcore.types import InputSpec

# Bilinear in swscale widens its filter when it shrinks, as Pillow's does. The other flags interpolate chroma
# at full resolution and round to nearest; without them colours shift by several levels.
_SCALING = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


def quarter_turns(frame: VideoFrame) -> int:
    """How often a frame is to be turned by 90° counter-clockwise (0 to 3) to be upright."""
    return round(frame.rotation / 90) % 4


def upright_rgb(
    frame: VideoFrame, reformatter: VideoReformatter, *, height: int, width: int
) -> npt.NDArray[np.uint8]:
    """Resize a frame to `height` x `width` upright pixels, as RGB: (height, width, 3) uint8, a view.

    The frame's own colour space and range are used where it states them, else BT.601 of limited range.
    """
    turns = quarter_turns(frame)
    if turns % 2:
        height, width = width, height
    rgb = reformatter.reformat(
        frame, width=width, height=height, format="rgb24", interpolation=_SCALING, threads=1
    )
    plane = rgb.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:height, : width * 3]
    return np.rot90(rows.reshape(height, width, 3), turns)


def upright_size(frame: VideoFrame) -> tuple[int, int]:
    """Height and width of a frame, pixels, when it is upright."""
    turned = quarter_turns(frame) % 2
    return (frame.width, frame.height) if turned else (frame.height, frame.width)


def draw_frame(
    frame: VideoFrame, reformatter: VideoReformatter, spec: InputSpec
) -> tuple[npt.NDArray[np.uint8], Fit]:
    """Draw a frame on the canvas of `spec`: (H, W, 3) uint8 RGB, and where the frame lies on it."""
    fit = plan_fit(*upright_size(frame), spec)
    content = upright_rgb(frame, reformatter, height=fit.content_height, width=fit.content_width)
    if content.shape == (spec.height, spec.width, 3):
        return np.array(content), fit
    canvas = np.full((spec.height, spec.width, 3), spec.fill, np.uint8)
    canvas[fit.top : fit.top + fit.content_height, fit.left : fit.left + fit.content_width] = content
    return canvas, fit
