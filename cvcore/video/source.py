"""Open untrusted video files: few container formats, no other file, no log lines, storage errors kept apart.

FFmpeg opens whatever a playlist names, local files and network addresses among it, so only self-contained
formats are demuxed and no protocol is allowed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import av
import av.container
import av.error
from av.packet import Packet
from av.video.stream import VideoStream

from cvcore.errors import ImageError

FORMATS = ("mov", "matroska", "webm", "avi", "mpegts", "mpeg", "flv", "asf", "ogg", "mxf", "ivf")

# What PyAV raises for content: its own tree, and what its wrappers raise in Python.
AV_ERRORS = (
    av.error.FFmpegError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    MemoryError,
    ArithmeticError,
    IndexError,
    OSError,
)

# Damaged places met without a packet between them, after which the rest is given up.
_MAX_FAILURES = 100

_ZEROS = bytes(2**20)


class Source:
    """A file as PyAV reads it. A failure of the file itself is kept for `check`, and reads as its end.

    Left to PyAV, such a failure may surface at another call, or be taken for the end of the video.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._failure: BaseException | None = None
        self._position = 0
        self._blanks: tuple[tuple[int, int], ...] = ()
        self.size = 0
        with self._storing():
            self.size = file.seek(0, os.SEEK_END)
        self.check()
        self.end = self.size

    def blank(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Read zeros in these (start, end) byte ranges, also past the end, without touching the file."""
        self._blanks = tuple(sorted(ranges))
        self.end = max([self.size, *(end for _, end in ranges)])

    def check(self) -> None:
        """Raise what the file itself raised, if it did."""
        if self._failure is not None:
            raise self._failure

    def read(self, size: int = -1) -> bytes:
        if self._failure is not None:
            return b""
        end = self.end if size < 0 else min(self._position + size, self.end)
        for start, stop in self._blanks:
            if start <= self._position < stop:
                count = min(end, stop, self._position + len(_ZEROS)) - self._position
                self._position += count
                return _ZEROS[:count]
            if self._position < start < end:
                end = start
        data = b""
        with self._storing():
            self._file.seek(self._position)
            data = self._file.read(max(0, end - self._position)) or b""
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.end}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    @contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:  # noqa: BLE001 - raised again by `check`, past PyAV's C callbacks
            self._failure = error


def open_container(source: Source) -> av.container.InputContainer:
    """Open what `source` holds, from its first byte.

    Raises:
        AV_ERRORS: it is not a video, or damaged.
    """
    source.seek(0)
    options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "none"}
    if _is_timed(source):
        options["fflags"] = "+noparse+nofillin"
    return av.open(source, "r", container_options=options, metadata_errors="replace")


def _is_timed(source: Source) -> bool:
    """Whether the container (MP4, Matroska) stores each frame's time and whether it is a keyframe.

    FFmpeg's parsers would replace both by what they read in the frames: not what seeking goes by, and
    not what the scan of an MP4 reads.
    """
    head = source.read(12)
    source.seek(0)
    return head[:4] == b"\x1a\x45\xdf\xa3" or is_mp4(head)


def is_mp4(head: bytes) -> bool:
    """Whether a file that begins with these 12 bytes is an MP4 or QuickTime one."""
    return head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp")


def pick_stream(container: av.container.InputContainer, stream: int | None) -> VideoStream:
    """The video stream of this index, or FFmpeg's best one; the others are not read on.

    Raises:
        ImageError: `no_video`.
    """
    videos = [video for video in container.streams.video if not is_picture(video)]
    if stream is None:
        best = container.streams.best("video")
        chosen = best if best in videos else next(iter(videos), None)
    else:
        chosen = next((video for video in videos if video.index == stream), None)
    if not isinstance(chosen, VideoStream):
        wanted = "no video stream" if stream is None else f"no video stream {stream}"
        raise ImageError("no_video", f"{wanted} among {_list_streams(container)}")
    if chosen.codec_context is None:  # PyAV's types do not say so
        raise ImageError("no_video", f"video stream {chosen.index} is of a codec that is not known")
    for other in container.streams:
        if other.index != chosen.index:
            other.discard = av.stream.Discard.all
    return chosen


def demux_packets(
    container: av.container.InputContainer, video: VideoStream
) -> Iterator[Packet[VideoStream]]:
    """The stream's packets from where the container stands, past damaged places, to the end of the data."""
    num_failures = 0
    while num_failures < _MAX_FAILURES:
        try:
            for packet in container.demux(video):
                if packet.size:
                    num_failures = 0
                    yield packet
        except av.error.InvalidDataError:
            num_failures += 1
        except AV_ERRORS:
            return
        else:
            return


def is_picture(video: VideoStream) -> bool:
    """Whether it is a cover or a thumbnail instead of a video."""
    return bool(
        video.disposition & (av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails)
    )


def _list_streams(container: av.container.InputContainer) -> str:
    return ", ".join(f"{one.index} ({one.type})" for one in container.streams) or "none"
