"""Write H.264 videos that every player and browser opens, with the same bytes for the same frames."""

from __future__ import annotations

import shutil
import tempfile
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import av
import av.container
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream

_TICKS_PER_S = 90_000
"""The time base of a variable frame rate: MPEG's."""

_X264_PARAMS = "threads=1:lookahead-threads=1:deterministic=1:cpu-independent=1"
_CONVERSION = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_BT601 = 6  # SMPTE 170M, in H.264's tables of primaries, transfer curves and matrices alike


class VideoWriter:
    """An MP4 file of H.264 (libx264, yuv420p, BT.601), its index in front, written frame by frame.

    It is a context manager. Nothing stands under the target's name before `close`, and nothing is left of a
    video whose block ended in an exception. One thread encodes, and no time, name or version goes into the
    file, so that equal frames make equal bytes with the same FFmpeg.

    A width or height that is odd grows by one: yuv420p has half as many colour samples as pixels along each
    axis. The last column or row is repeated; coordinates of pixels do not change.
    """

    def __init__(
        self,
        target: str | Path | BinaryIO,
        *,
        fps: Fraction | float,
        width: int,
        height: int,
        crf: int = 23,
        keyframe_interval: int | None = None,
    ) -> None:
        """Prepare to write.

        Args:
            target: a path, or a binary file to which the video is copied on `close`.
            fps: frames a second; where frames come with timestamps, only the last frame's duration.
            width, height: of the frames, pixels.
            crf: x264's constant rate factor, 0 (lossless but for the colours) to 51 (worst).
            keyframe_interval: most frames from one keyframe to the next; two seconds by default.

        Raises:
            ValueError: an argument is outside of what is allowed.
        """
        self.fps = Fraction(fps).limit_denominator(1001)
        if self.fps <= 0:
            raise ValueError(f"fps must be positive, got {fps}")
        if width < 2 or height < 2:
            raise ValueError(f"width and height must be at least 2 pixels, got {width} x {height}")
        if not 0 <= crf <= 51:
            raise ValueError(f"crf must be between 0 and 51, got {crf}")
        if keyframe_interval is not None and keyframe_interval < 1:
            raise ValueError(f"keyframe_interval must be at least 1, got {keyframe_interval}")
        self.width, self.height, self.crf = width, height, crf
        self.keyframe_interval = keyframe_interval or max(1, round(2 * self.fps))
        self.num_frames = 0
        self._target = Path(target) if isinstance(target, str | Path) else target
        # FFmpeg moves the index to the front by reading the file again: a stream needs one too.
        beside = self._target.parent if isinstance(self._target, Path) else None
        self._folder = tempfile.TemporaryDirectory(dir=beside, prefix=".video-")
        self._path = Path(self._folder.name) / "video.mp4"
        self._container: av.container.OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._reformatter = VideoReformatter()
        self._last_pts: int | None = None
        self._timed = False
        self._closed = False

    def write(self, frame: npt.NDArray[np.uint8], *, timestamp_s: float | None = None) -> None:
        """Append a frame, (H, W, 3) uint8 RGB.

        Args:
            frame: its size must be the writer's.
            timestamp_s: when it is shown, seconds, to a 90,000th; after the frame before. Either every frame
                has one, or none has, and then they follow each other at `fps`.

        Raises:
            ValueError: the frame's shape, type or time does not fit, or the writer is closed.
        """
        if self._closed:
            raise ValueError("the video is closed; write its frames before")
        if frame.shape != (self.height, self.width, 3) or frame.dtype != np.uint8:
            raise ValueError(
                f"a frame must be ({self.height}, {self.width}, 3) uint8, got {frame.shape} {frame.dtype}"
            )
        if self.num_frames and self._timed != (timestamp_s is not None):
            raise ValueError("either every frame has a timestamp_s or none has")
        pts = self.num_frames if timestamp_s is None else round(timestamp_s * _TICKS_PER_S)
        if pts < 0 or (self._last_pts is not None and pts <= self._last_pts):
            raise ValueError(
                f"timestamp_s must be at least 0 and rise from frame to frame, got {timestamp_s}"
            )
        if self._container is None or self._stream is None:
            self._timed = timestamp_s is not None
            self._container, self._stream = self._open()
        picture = self._to_picture(frame)
        picture.pts, picture.time_base = pts, self._stream.codec_context.time_base
        picture.duration = round(_TICKS_PER_S / self.fps) if self._timed else 1
        self._container.mux(self._stream.encode(picture))
        self._last_pts = pts
        self.num_frames += 1

    def close(self) -> None:
        """Finish the file and put it in its place. A second call does nothing.

        Raises:
            ValueError: no frame was written.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if self._container is None or self._stream is None:
                raise ValueError("a video needs at least one frame, and none was written")
            self._container.mux(self._stream.encode(None))
            self._container.close()
            if isinstance(self._target, Path):
                self._path.replace(self._target)
            else:
                with self._path.open("rb") as file:
                    shutil.copyfileobj(file, self._target)
        finally:
            self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        self._closed = True
        if self._container is not None:
            self._container.close()
        self._folder.cleanup()

    def _open(self) -> tuple[av.container.OutputContainer, VideoStream]:
        container = av.open(
            str(self._path), "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}
        )
        options = {
            "preset": "veryfast",
            "x264-params": _X264_PARAMS,
            "crf": str(self.crf),
            "g": str(self.keyframe_interval),
        }
        stream = container.add_stream("libx264", rate=self.fps, options=options)
        stream.width, stream.height = self.width + self.width % 2, self.height + self.height % 2
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.thread_count = 1
        context.time_base = Fraction(1, _TICKS_PER_S) if self._timed else 1 / self.fps
        context.color_range = ColorRange.MPEG
        context.colorspace, context.color_primaries, context.color_trc = _BT601, _BT601, _BT601
        return container, stream

    def _to_picture(self, frame: npt.NDArray[np.uint8]) -> av.VideoFrame:
        extra = (self.height % 2, self.width % 2)
        if any(extra):
            frame = np.pad(frame, ((0, extra[0]), (0, extra[1]), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        return self._reformatter.reformat(
            picture,
            format="yuv420p",
            dst_colorspace=Colorspace.SMPTE170M,
            dst_color_range=ColorRange.MPEG,
            interpolation=_CONVERSION,
            threads=1,
        )
