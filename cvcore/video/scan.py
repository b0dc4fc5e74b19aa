"""List the frames of a video without decoding it: times, keyframes and size, from the container alone."""

from __future__ import annotations

import itertools
from array import array
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import av.container
import av.error
import numpy as np
import numpy.typing as npt
from av.video.stream import VideoStream

from cvcore.errors import ImageError
from cvcore.image.limits import DecodeLimits
from cvcore.video.mp4 import Layout, read_layout, read_quarter_turns
from cvcore.video.source import AV_ERRORS, Source, demux_packets, is_mp4, open_container, pick_stream
from cvcore.video.times import is_hidden, packet_time, stores_times
from cvcore.video.upright import quarter_turns

_DEFAULT_LIMITS = DecodeLimits()
# Frames decoded in search of one that says how it is turned, where the container does not.
_MAX_PROBED_FRAMES = 3


@dataclass(frozen=True)
class VideoScan:
    """The frames of one video stream, in the order in which they are shown.

    Attributes:
        width, height: upright pixels, as the stream declares them; single frames may differ.
        time_base: seconds that one unit of `pts` lasts.
        pts: (F,) int64, presentation times, strictly ascending; as the container states them, so the first
            need not be 0.
        keyframes: (F,) bool, the frames where decoding can start.
        stream: index of the stream in its container.
        codec: FFmpeg's name of it, such as `h264`.
    """

    width: int
    height: int
    time_base: Fraction
    pts: npt.NDArray[np.int64]
    keyframes: npt.NDArray[np.bool_]
    stream: int
    codec: str

    def __post_init__(self) -> None:
        if self.pts.ndim != 1 or self.pts.shape != self.keyframes.shape:
            raise ValueError(f"pts {self.pts.shape} and keyframes {self.keyframes.shape} must be (F,) both")
        if np.any(np.diff(self.pts) <= 0):
            raise ValueError("pts must ascend strictly")

    def __len__(self) -> int:
        return int(self.pts.shape[0])


def scan_video(
    file: BinaryIO,
    *,
    name: str | None = None,
    stream: int | None = None,
    limits: DecodeLimits = _DEFAULT_LIMITS,
) -> VideoScan:
    """List every frame of a video stream; packets are demuxed, none is decoded.

    Of an MP4 or QuickTime file only the index is read, so that a large object costs some kilobytes; other
    containers are read through. Frames that an edit list hides are not listed; of frames with the same time
    the first is. A file cut within its media data lists what its index does (MP4) or what is left.

    Args:
        file: seekable; it stays open.
        name: file name or URI, for messages.
        stream: index in the container; None takes FFmpeg's best video stream.
        limits: `max_pixels` is checked, `max_bytes` is not: a video is read in pieces.

    Raises:
        ImageError: `empty`, `not_a_video`, `no_video`, `no_frames`, `truncated`, `corrupt` or `too_large`.
        Exception: whatever `file` raises.
    """
    source = Source(file)
    label = "video" if name is None else name
    try:
        return _scan(source, stream, limits)
    except ImageError as error:
        raise ImageError(error.code, f"{label}: {error}") from error
    except AV_ERRORS as error:
        source.check()
        raise ImageError(*_explain(error, label)) from error
    finally:
        source.check()


def _scan(source: Source, stream: int | None, limits: DecodeLimits) -> VideoScan:
    if source.size == 0:
        raise ImageError("empty", "the file has 0 bytes")
    head = source.read(12)
    layout = read_layout(source) if is_mp4(head) else None
    if layout is not None and not layout.fragmented:
        source.blank(layout.media)
    with open_container(source) as container:
        video = pick_stream(container, stream)
        width, height = video.codec_context.width, video.codec_context.height
        if width * height > limits.max_pixels:
            raise ImageError(
                "too_large",
                f"{width}x{height} is {width * height} pixels, over the limit max_pixels = "
                f"{limits.max_pixels}",
            )
        pts, keyframes = _list_frames(container, video)
        source.check()
        if not len(pts):
            raise ImageError(
                "no_frames", f"stream {video.index} ({video.codec_context.name}) holds no frames"
            )
        if _quarter_turns(source, layout, container, video) % 2:
            width, height = height, width
        assert video.time_base is not None
        return VideoScan(
            width, height, video.time_base, pts, keyframes, video.index, video.codec_context.name
        )


def _list_frames(
    container: av.container.InputContainer, video: VideoStream
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Times and keyframes of all packets, in order of presentation."""
    stored = stores_times(container)
    times, keys = array("q"), array("b")
    for packet in demux_packets(container, video):
        time = packet_time(packet, stored=stored)
        if packet.is_discard or is_hidden(packet, video.codec_context.name):
            continue
        if time is not None:
            times.append(time)
            keys.append(packet.is_keyframe)
        elif not times:
            raise ImageError(
                "not_a_video", "its frames have no times (a raw stream?); put it in MP4 or Matroska"
            )
    pts, first = np.unique(np.frombuffer(times, np.int64), return_index=True)
    return pts, np.frombuffer(keys, np.int8)[first].astype(np.bool_)


def _quarter_turns(
    source: Source, layout: Layout | None, container: av.container.InputContainer, video: VideoStream
) -> int:
    """How the stream's pictures are turned. PyAV tells it of decoded frames only."""
    if layout is not None and layout.moov is not None and not layout.fragmented:
        return read_quarter_turns(source, layout.moov, video.id)
    video.codec_context.thread_count = 1
    try:
        container.seek(0)
        for frame in itertools.islice(container.decode(video), _MAX_PROBED_FRAMES):
            return quarter_turns(frame)
    except AV_ERRORS:
        pass  # decoding will say what is wrong
    return 0


def _explain(error: Exception, label: str) -> tuple[str, str]:
    """Code and message for what PyAV raised before a frame was listed."""
    if isinstance(error, av.error.EOFError):
        return "truncated", f"{label}: the file ends before its first frame"
    return "not_a_video", f"{label}: no known video container, or a damaged header ({error})"
