"""What MP4 and QuickTime files say in their boxes, as far as reading them sparsely needs (ISO 14496-12).

An unfragmented file lists all its samples in `moov`; the media data in `mdat`, nearly all of the file, is not
needed to know the frames.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from cvcore.errors import ImageError
from cvcore.video.source import Source

# Boxes at the top level of real files are few, unless they are fragments, which end the walk.
_MAX_BOXES = 10_000
_MAX_MOOV_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Box:
    """One box: `start` is where its content begins, `end` where it says that it ends, bytes of the file."""

    kind: bytes
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The top level of a file.

    Attributes:
        moov: the index, or None.
        media: the `mdat` boxes, as (start, end) of their content.
        fragmented: whether the samples are listed in fragments among the media.
    """

    moov: Box | None
    media: tuple[tuple[int, int], ...]
    fragmented: bool


def read_layout(source: Source) -> Layout:
    """Walk the top-level boxes: some bytes each, wherever they lie.

    Raises:
        ImageError: `truncated` for a file that ends before or within its index, `corrupt` for one whose sizes
            make no sense.
    """
    moov: Box | None = None
    media: list[tuple[int, int]] = []
    for box in _walk(source, 0, source.size):
        if box.kind == b"moov":
            moov = box
        elif box.kind == b"mdat":
            media.append((box.start, box.end))
        elif box.kind == b"moof":
            return Layout(moov, tuple(media), fragmented=True)
    if moov is None:
        raise ImageError(
            "truncated", "the index (moov) is missing: the file was cut short, or never finished"
        )
    if moov.end > source.size:
        raise ImageError("truncated", f"the index (moov) ends at byte {moov.end}, the file at {source.size}")
    if moov.end - moov.start > _MAX_MOOV_BYTES:
        raise ImageError("corrupt", f"the index (moov) claims {moov.end - moov.start} bytes")
    fragmented = any(box.kind == b"mvex" for box in _walk(source, moov.start, moov.end))
    return Layout(moov, tuple(media), fragmented)


def read_quarter_turns(source: Source, moov: Box, track_id: int) -> int:
    """How often a track's pictures are to be turned by 90° counter-clockwise (0 to 3) to be upright.

    The matrix of `tkhd` maps (x, y) to (ax + cy, bx + dy), y downwards (ISO 14496-12, 6.2.2).
    """
    for track in _walk(source, moov.start, moov.end):
        if track.kind != b"trak":
            continue
        for box in _walk(source, track.start, track.end):
            if box.kind == b"tkhd":
                data = _read(source, box.start, min(box.end - box.start, 96))
                long = data[:1] == b"\x01"
                if len(data) < (88 if long else 76):
                    return 0
                found_id = struct.unpack_from(">I", data, 20 if long else 12)[0]
                if found_id == track_id:
                    a, b = struct.unpack_from(">ii", data, 52 if long else 40)
                    return round(-math.degrees(math.atan2(b, a)) / 90) % 4
    return 0


def _walk(source: Source, start: int, end: int) -> Iterator[Box]:
    position = start
    for _ in range(_MAX_BOXES):
        header = _read(source, position, 16)
        if position + 8 > end or len(header) < 8:
            return
        size, kind = struct.unpack_from(">I4s", header)
        length = 8
        if size == 1:
            if len(header) < 16:
                return
            size, length = struct.unpack_from(">Q", header, 8)[0], 16
        elif size == 0:
            size = end - position
        if size < length:
            if position == start or kind.isalnum():
                raise ImageError("corrupt", f"the box {kind!r} at byte {position} claims {size} bytes")
            return  # padding behind the last box
        yield Box(kind, position + length, position + size)
        position += size


def _read(source: Source, position: int, count: int) -> bytes:
    source.seek(position)
    data = source.read(count)
    source.check()
    return data
