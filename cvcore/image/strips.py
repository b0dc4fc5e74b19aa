"""Images from top to bottom, a few rows at a time: what is larger than memory.

libvips decodes JPEG, PNG and TIFF as rows are asked for. Pillow judges the header and turns the pixels to
RGB, as it does for whole images, so that both ways give the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, TiffImagePlugin
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from cvcore.errors import ImageError
from cvcore.image.decode import check_file, open_image, read_header, reading
from cvcore.image.jpeg import count_scans
from cvcore.image.limits import DecodeLimits
from cvcore.image.png import describes_elsewhere, exif_of
from cvcore.image.rgb import read_orientation, to_rgb

Pixels = npt.NDArray[np.uint8]

MAX_WHOLE_PIXELS = 2**28
"""Of images whose kind has to be decoded whole, whatever `max_pixels` allows: 0.8 GB of RGB."""

_MAX_TILE_ROWS = 4096
_ROWS_AT_ONCE = 64
_PNG_BIT_DEPTH = 24  # where IHDR has it
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_ORIENTATION, _TILE_LENGTH, _BITS = 274, 323, TiffImagePlugin.BITSPERSAMPLE


class Strips:
    """An upright RGB image that is read from top to bottom.

    Args:
        height, width: pixels.
        fetch: gives rows `start` to `stop`, (n, width, 3); called in order, without gaps.
        needed: what has to live as long as rows are fetched.

    Memory holds the rows that the last `read` asked for.
    """

    def __init__(
        self, height: int, width: int, fetch: Callable[[int, int], Pixels], *, needed: object = None
    ) -> None:
        self.height, self.width = height, width
        self._fetch, self._needed = fetch, needed
        self._first = 0
        self._rows = np.zeros((0, width, 3), np.uint8)

    def read(self, rows: slice, columns: slice) -> Pixels:
        """A part of the image, (h, w, 3).

        Raises:
            ImageError: for damaged pixels.
            ValueError: for rows above those that were asked for last.
        """
        if rows.start < self._first:
            raise ValueError(f"row {rows.start} has passed: rows from {self._first} on can be read")
        if rows.start > self._first or rows.stop > self._first + len(self._rows):
            self._advance(rows)
        return self._rows[: rows.stop - rows.start, columns]

    def _advance(self, rows: slice) -> None:
        stop = self._first + len(self._rows)
        kept = self._rows[rows.start - self._first :]
        fresh = np.empty((max(stop, rows.stop) - rows.start, self.width, 3), np.uint8)
        fresh[: len(kept)] = kept
        for start in range(stop, rows.stop, _ROWS_AT_ONCE):
            piece = self._fetch(start, min(start + _ROWS_AT_ONCE, rows.stop))
            piece = piece[max(0, rows.start - start) :]
            at = max(start, rows.start) - rows.start
            fresh[at : at + len(piece)] = piece
        self._first, self._rows = rows.start, fresh


def open_strips(data: bytes, *, limits: DecodeLimits, name: str | None = None) -> Strips:
    """An image by rows; arguments and errors are those of `cvcore.image.decode.open_image`.

    Progressive JPEGs, interlaced PNGs, images that have to be turned, more than 8 bits a channel, and other
    formats than JPEG, PNG and TIFF have no rows before the whole is decoded: they are, up to
    `MAX_WHOLE_PIXELS`.
    """
    image_format = check_file(data, limits, name)

    def judging() -> AbstractContextManager[None]:
        return reading(data, image_format, name)

    with judging():
        header = read_header(data, image_format, limits)
        reason = _whole_because(header, data)
        if reason is None:
            return _stream(data, header, judging)
        if header.width * header.height > MAX_WHOLE_PIXELS:
            raise ImageError(
                "too_large",
                f"{header.width}x{header.height} pixels {reason}, which is decoded whole, and that up to "
                f"{MAX_WHOLE_PIXELS} pixels: save it upright as a baseline JPEG, a PNG without interlacing, "
                "or a tiled TIFF, of 8 bits a channel",
            )
    pixels = np.asarray(open_image(data, limits=limits, name=name))
    height, width = pixels.shape[:2]
    return Strips(height, width, lambda start, stop: pixels[start:stop])


def _whole_because(header: ImageFile.ImageFile, data: bytes) -> str | None:
    """What keeps an image from being decoded by rows; None where nothing does."""
    if isinstance(header, PngImageFile):
        if describes_elsewhere(data):
            return "with XMP or EXIF as text, which may turn them"
        header.info["exif"] = exif_of(data) or b""
    if read_orientation(header) != 1:
        return "turned by its orientation tag"
    if isinstance(header, JpegImageFile):
        if header.mode not in ("L", "RGB"):
            return f"of mode {header.mode}"
        several = "progressive" in header.info or count_scans(data, limit=1) != 1
        return "in several scans (a progressive JPEG)" if several else None
    if isinstance(header, PngImageFile):
        if header.info.get("interlace"):
            return "interlaced"
        return "of 16 bits a channel" if data[_PNG_BIT_DEPTH] > 8 else None
    if isinstance(header, TiffImageFile):
        return _whole_tiff_because(header)
    return f"in {header.format} format"


def _whole_tiff_because(header: TiffImageFile) -> str | None:
    tags = header.tag_v2
    if tags.get(_ORIENTATION, 1) != 1:
        return "turned by its orientation tag"
    if header.mode not in ("L", "RGB") or set(tags.get(_BITS, (1,))) != {8}:
        return f"of mode {header.mode}, {tags.get(_BITS, (1,))} bits"
    rows = int(tags.get(_TILE_LENGTH, 0))
    return f"in tiles of {rows} rows" if rows > _MAX_TILE_ROWS else None


def _stream(
    data: bytes, header: ImageFile.ImageFile, judging: Callable[[], AbstractContextManager[None]]
) -> Strips:
    import pyvips  # a shared library of megabytes, which only tiles need

    logging.getLogger("pyvips").setLevel(logging.ERROR)  # it warns of what it raises
    kind = str(header.format).lower()
    load: Callable[..., Any] = getattr(pyvips.Image, f"{kind}load_source")
    fail_on = "truncated" if kind == "jpeg" else "error"  # Pillow too forgives a JPEG what libjpeg warns of
    try:
        source = pyvips.Source.new_from_memory(data)  # a buffer would be copied
        image = load(source, access="sequential", fail_on=fail_on)
        region = pyvips.Region.new(image)
    except pyvips.Error as error:
        raise OSError(_told(error)) from error
    if image.format != "uchar" or image.bands not in _MODES or (image.width, image.height) != header.size:
        raise OSError(f"libvips reads {image.width}x{image.height} of {image.bands} bands of {image.format}")
    mode = _MODES[image.bands]

    def fetch(start: int, stop: int) -> Pixels:
        with judging():
            try:
                body = region.fetch(0, start, image.width, stop - start)
            except pyvips.Error as error:
                raise OSError(_told(error)) from error
            return np.asarray(to_rgb(Image.frombuffer(mode, (image.width, stop - start), body)))

    return Strips(image.height, image.width, fetch, needed=(source, data))


def _told(error: Exception) -> str:
    """libvips' last line, in words that Pillow's errors have."""
    last = str(error).strip().splitlines()[-1].strip()
    return last.replace("premature end", "truncated: premature end")
