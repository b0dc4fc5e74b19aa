"""Small images of every kind, made here so that their exact pixels are known."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def smooth_rgb(height: int, width: int, *, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(height, width, 3) uint8 without symmetry, smooth enough to survive JPEG."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    phase = np.random.default_rng(seed).uniform(0, 6, size=3)
    waves = [np.sin(x / width * 5 + p) + np.cos(y / height * (3 + k) + p) for k, p in enumerate(phase)]
    return np.clip(128 + 60 * np.stack(waves, axis=2), 0, 255).astype(np.uint8)


def encode(image: Image.Image, image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def png(bits: int, color: int, rows: bytes, width: int, height: int, *extra: tuple[bytes, bytes]) -> bytes:
    """Write a PNG chunk by chunk; `rows` are raw samples, most significant byte first, unfiltered."""
    stride = len(rows) // height if height else 0
    lines = b"".join(b"\0" + rows[i * stride : (i + 1) * stride] for i in range(height))
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def tiff(tags: dict[int, tuple[int, tuple[int, ...]]], pixels: bytes, *, tiled: bool = False) -> bytes:
    """Write a little-endian TIFF of one strip or tile: `tags` map a number to (type 3 or 4, values).

    The offset and byte count of the strip or tile are filled in.
    """
    size = {3: 2, 4: 4}
    offsets, counts = (324, 325) if tiled else (273, 279)
    tags = {**tags, offsets: (4, (8,)), counts: (4, (len(pixels),))}
    directory_at = 8 + len(pixels) + len(pixels) % 2
    spill_at = directory_at + 2 + 12 * len(tags) + 4
    entries, spill = b"", b""
    for number, (kind, values) in sorted(tags.items()):
        body = struct.pack("<" + {3: "H", 4: "I"}[kind] * len(values), *values)
        if len(values) * size[kind] > 4:
            spill, body = spill + body, struct.pack("<I", spill_at + len(spill))
        entries += struct.pack("<HHI", number, kind, len(values)) + body.ljust(4, b"\0")
    pixels += b"\0" * (len(pixels) % 2)
    count = struct.pack("<H", len(tags))
    return b"II*\0" + struct.pack("<I", directory_at) + pixels + count + entries + b"\0" * 4 + spill


def gray_tiff(
    pixels: bytes, width: int, height: int, *, bits: int, photometric: int = 1, kind: int = 1
) -> bytes:
    """A gray TIFF of unsigned (`kind` 1), signed (2) or float (3) samples."""
    return tiff(
        {
            256: (4, (width,)),
            257: (4, (height,)),
            258: (3, (bits,)),
            259: (3, (1,)),
            262: (3, (photometric,)),
            277: (3, (1,)),
            278: (4, (height,)),
            339: (3, (kind,)),
        },
        pixels,
    )
