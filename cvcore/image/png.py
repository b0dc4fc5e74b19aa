"""PNG's chunks (W3C PNG, third edition): what a file holds, and a file of class ids written row by row."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK_BYTES = 2**20
_ROWS_AT_ONCE = 64
_LENGTH_AND_NAME = 8
_CHECKSUM = 4
_EXIF = b"Exif\0\0"
_XMP, _RAW_PROFILE = b"XML:com.adobe.xmp", b"Raw profile type"


def chunks_of(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Names and bodies of a PNG's chunks, unchecked; a damaged file has what comes before the damage."""
    at, view = len(_SIGNATURE), memoryview(data)
    while at + _LENGTH_AND_NAME <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        start = at + _LENGTH_AND_NAME
        yield name, view[start : start + length]
        at = start + length + _CHECKSUM


def holds_chunk(data: bytes, name: bytes) -> bool:
    """Whether a PNG has a chunk of that name."""
    return any(found == name for found, _ in chunks_of(data))


def exif_of(data: bytes) -> bytes | None:
    """The EXIF block of a PNG, as JPEGs have it; it may stand behind the pixels. None where there is none."""
    return next((_EXIF + bytes(body) for name, body in chunks_of(data) if name == b"eXIf"), None)


def describes_elsewhere(data: bytes) -> bool:
    """Whether text of a PNG, wherever it stands, has XMP, or EXIF as older programs wrote it."""
    return any(
        name in (b"tEXt", b"zTXt", b"iTXt") and bytes(body[: len(_XMP)]).startswith((_XMP, _RAW_PROFILE))
        for name, body in chunks_of(data)
    )


class PaletteWriter:
    """A palette PNG, from top to bottom: memory holds what is compressed, not the pixels.

    Args:
        height, width: pixels.
        palette: (N, 3) uint8 RGB.
    """

    def __init__(self, *, height: int, width: int, palette: npt.NDArray[np.uint8]) -> None:
        self._height, self._width = height, width
        self._rows = 0
        self._packer = zlib.compressobj(6)
        self._waiting = bytearray()
        self._parts = [
            _SIGNATURE,
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", palette.tobytes()),
        ]

    def write(self, rows: npt.NDArray[np.uint8]) -> None:
        """The next rows, (n, width) indices into the palette.

        Raises:
            ValueError: for rows of another width, or more than the image has.
        """
        if rows.shape[1:] != (self._width,) or self._rows + len(rows) > self._height:
            raise ValueError(
                f"{rows.shape} does not follow {self._rows} rows of an image of {self._height}x{self._width}"
            )
        self._rows += len(rows)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            piece = rows[start : start + _ROWS_AT_ONCE]
            filtered = np.zeros((len(piece), self._width + 1), np.uint8)  # a row begins with 0: not filtered
            filtered[:, 1:] = piece
            self._waiting += self._packer.compress(filtered.tobytes())
            if len(self._waiting) >= _CHUNK_BYTES:
                self._flush()

    def finish(self) -> bytes:
        """The file.

        Raises:
            ValueError: where rows are missing.
        """
        if self._rows != self._height:
            raise ValueError(f"{self._rows} of {self._height} rows were written")
        self._waiting += self._packer.flush()
        self._flush()
        return b"".join([*self._parts, _chunk(b"IEND", b"")])

    def _flush(self) -> None:
        self._parts.append(_chunk(b"IDAT", bytes(self._waiting)))
        self._waiting.clear()


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
