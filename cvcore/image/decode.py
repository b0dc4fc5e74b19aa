"""Decode untrusted image bytes: checked before a pixel is decoded, upright RGB after.

Every failure is an `ImageError` with one of these codes: `empty`, `too_many_bytes`, `not_an_image`,
`format_not_allowed`, `extension_mismatch`, `too_large`, `too_complex`, `unsupported_mode`, `truncated`,
`corrupt`.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from cvcore.errors import ImageError
from cvcore.image.fit import Fit, draw_fit, plan_fit
from cvcore.image.jpeg import count_scans
from cvcore.image.limits import DecodeLimits
from cvcore.image.png import exif_of, holds_chunk
from cvcore.image.rgb import read_orientation, swaps_sides, to_rgb, turn_upright
from cvcore.image.sniff import declared_size, format_of_extension, sniff_format
from cvcore.image.tiff import tiff_extent
from cvcore.types import InputSpec

# The readers are called by name: `Image.open` would add Pillow's process-wide limit to ours, and a phone's
# MPO is then read as the JPEG that its first picture is.
_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
}

# What Pillow's readers raise on hostile bytes: an image's own fault, whichever of these it is.
_READER_ERRORS = (
    OSError,  # most of them: truncated data, codec errors, unsupported variants
    SyntaxError,  # a header that does not parse, broken PNG chunks
    ValueError,  # impossible sizes, offsets and text encodings (UnicodeDecodeError too)
    TypeError,  # a tag of the wrong type
    LookupError,  # an index past the data, an unknown tag value
    ArithmeticError,  # overflow in sizes, a zero denominator
    AttributeError,  # a tag that is missing where the reader relies on it
    AssertionError,  # the readers' own invariants
    EOFError,
    RuntimeError,  # nesting without end, and what a plugin does not implement
    MemoryError,  # a field that asks for more than there is
    struct.error,
    zlib.error,
    Image.DecompressionBombError,  # a GIF frame or TIFF tile far larger than the image declares
)
_CUT_MESSAGES = ("truncated", "buffer", "unexpected end", "end of file", "not enough")
_UNSUPPORTED_MESSAGES = (
    "unknown pixel mode",
    "unknown data organization",
    "unsupported bmp",
    "cannot handle",
)
_PILLOW_MODULES = re.compile(r"PIL\b")

# A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that leaves this many times the pixels needed, each
# way; the smoothing resize then hides the difference.
_JPEG_HEADROOM = 2

# A file of kilobytes can ask for hours of work: a pass over its pixels for each scan, or, in the one decoder
# that Pillow has written in Python, a step for each pixel.
MAX_JPEG_SCANS = 64
MAX_RLE_PIXELS = 2**23
_MAX_DETAIL_CHARS = 300


@dataclass(frozen=True, slots=True)
class CanvasImage:
    """One image as its model reads it.

    Attributes:
        canvas: (H, W, 3) uint8 RGB.
        fit: where the upright source lies on it.
    """

    canvas: npt.NDArray[np.uint8]
    fit: Fit


_DEFAULT_LIMITS = DecodeLimits()


def open_image(
    data: bytes, *, limits: DecodeLimits = _DEFAULT_LIMITS, name: str | None = None
) -> Image.Image:
    """Decode to an upright RGB image with all its pixels; an animation gives its first frame.

    Args:
        data: the encoded file.
        limits: what is refused before decoding.
        name: file name or URI: its extension is checked against the content, and messages show it.

    Raises:
        ImageError: see the module's list of codes.
    """
    image_format = check_file(data, limits, name)
    with reading(data, image_format, name):
        upright = _decode(read_header(data, image_format, limits))
        # A copy is an ordinary image: no file, and no EXIF left that would turn it a second time.
        result = upright.copy() if isinstance(upright, ImageFile.ImageFile) else upright
    result.info = {}
    return result


def read_size(
    data: bytes, *, limits: DecodeLimits = _DEFAULT_LIMITS, name: str | None = None
) -> tuple[int, int]:
    """Width and height, pixels, of what `open_image` gives, read from the header; it has the same arguments.

    A JPEG's first kilobytes are enough; other formats may say how they are turned behind their pixels.
    """
    image_format = check_file(data, limits, name)
    with reading(data, image_format, name):
        image = read_header(data, image_format, limits)
        if isinstance(image, PngImageFile) and (exif := exif_of(data)) is not None:
            image.info["exif"] = exif
        width, height = image.size
        return (height, width) if swaps_sides(read_orientation(image)) else (width, height)


def decode_to_canvas(
    data: bytes, spec: InputSpec, *, limits: DecodeLimits = _DEFAULT_LIMITS, name: str | None = None
) -> CanvasImage:
    """Decode straight to a model's canvas; arguments and errors are those of `open_image`.

    A JPEG of at least twice the size needed is decoded at a reduced scale of its DCT; everything else is
    `open_image` drawn by `draw_fit`.
    """
    image_format = check_file(data, limits, name)
    with reading(data, image_format, name):
        image = read_header(data, image_format, limits)
        if isinstance(image, JpegImageFile):
            upright, fit = _decode_jpeg(image, spec)
        else:
            upright = _decode(image)
            fit = plan_fit(upright.height, upright.width, spec)
        return CanvasImage(draw_fit(upright, fit, spec), fit)


def _decode(image: ImageFile.ImageFile) -> Image.Image:
    image.load()
    # A PNG may carry its EXIF block behind the pixels, so this comes second.
    return turn_upright(to_rgb(image), read_orientation(image))


def _decode_jpeg(image: JpegImageFile, spec: InputSpec) -> tuple[Image.Image, Fit]:
    """Return the content of the canvas, upright, at its final size if it was decoded reduced."""
    orientation = read_orientation(image)
    turned = swaps_sides(orientation)
    width, height = reversed(image.size) if turned else image.size
    fit = plan_fit(height, width, spec)
    content = (fit.content_height, fit.content_width) if turned else (fit.content_width, fit.content_height)
    full_size = image.size
    drafted = image.draft(None, (content[0] * _JPEG_HEADROOM, content[1] * _JPEG_HEADROOM))
    image.load()
    rgb = to_rgb(image)
    if drafted is not None and image.size != full_size:
        # The last reduced row and column may stand for fewer source pixels: the box leaves the rest out.
        rgb = rgb.resize(content, Image.Resampling.BILINEAR, box=drafted[1])
    return turn_upright(rgb, orientation), fit


def check_file(data: bytes, limits: DecodeLimits, name: str | None) -> str:
    """Check bytes, signature, format and extension; return the format; errors are those of `open_image`."""
    label = _label(name)
    if not data:
        raise ImageError("empty", f"{label}: the file has 0 bytes")
    if len(data) > limits.max_bytes:
        raise ImageError(
            "too_many_bytes", f"{label}: {len(data)} bytes, over the limit max_bytes = {limits.max_bytes}"
        )
    image_format = sniff_format(data)
    if image_format is None:
        raise ImageError("not_an_image", f"{label}: no known image format begins with {data[:12]!r}")
    if image_format not in limits.formats:
        raise ImageError(
            "format_not_allowed",
            f"{label}: it is a {image_format} file; allowed are {', '.join(limits.formats)}",
        )
    promised = None if name is None else format_of_extension(name)
    if limits.extension_mismatch == "fail" and promised not in (None, image_format):
        raise ImageError(
            "extension_mismatch",
            f"{label}: the name says {promised}, the content is {image_format}; rename the file, or set "
            "extension_mismatch: allow",
        )
    return image_format


def read_header(data: bytes, image_format: str, limits: DecodeLimits) -> ImageFile.ImageFile:
    """Read and judge what a file says before its pixels; inside of `reading`, which names its errors."""
    declared = declared_size(data, image_format)
    if declared is not None:
        _check_pixels(*declared, limits)
    image = _READERS[image_format](io.BytesIO(data))
    _check_pixels(*image.size, limits)
    _check_work(image, data)
    if isinstance(image, TiffImageFile):
        # Each tile is decoded whole, and a tile may be declared larger than its image.
        _check_pixels(int(image.tag_v2.get(322, 1)), int(image.tag_v2.get(323, 1)), limits)
        if image.use_load_libtiff and tiff_extent(data) > len(data):
            # libtiff would find out too, but tell stderr about it.
            raise OSError(f"truncated: {tiff_extent(data)} bytes are needed, {len(data)} are there")
    return image


def _check_pixels(width: int, height: int, limits: DecodeLimits) -> None:
    if width * height > limits.max_pixels:
        raise ImageError(
            "too_large",
            f"{width}x{height} is {width * height} pixels, over the limit max_pixels = {limits.max_pixels}; "
            "raise it where such images are expected",
        )


def _check_work(image: ImageFile.ImageFile, data: bytes) -> None:
    if isinstance(image, JpegImageFile) and count_scans(data, limit=MAX_JPEG_SCANS) > MAX_JPEG_SCANS:
        raise ImageError("too_complex", f"it has more than {MAX_JPEG_SCANS} scans")
    run_lengths = isinstance(image, BmpImageFile) and image.info.get("compression") in (
        BmpImageFile.COMPRESSIONS["RLE8"],
        BmpImageFile.COMPRESSIONS["RLE4"],
    )
    if run_lengths and image.width * image.height > MAX_RLE_PIXELS:
        raise ImageError(
            "too_complex",
            f"{image.width}x{image.height} run-length coded pixels are more than {MAX_RLE_PIXELS}; save it "
            "without this compression",
        )


@contextmanager
def reading(data: bytes, image_format: str, name: str | None) -> Iterator[None]:
    """Turn whatever Pillow raises inside into an `ImageError` that names the file."""
    _mute_pillow()
    try:
        yield
    except ImageError as error:
        raise ImageError(error.code, f"{_label(name)}: {error}") from error
    except _READER_ERRORS as error:
        code = _classify(error, data, image_format)
        detail = str(error)[:_MAX_DETAIL_CHARS] or type(error).__name__
        raise ImageError(
            code, f"{_label(name)}: this {image_format} file is {_SAYS[code]} ({detail})"
        ) from error


_SAYS = {
    "truncated": "cut short",
    "corrupt": "damaged",
    "unsupported_mode": "of a kind that is not read",
    "too_large": "larger inside than it declares",
}


def _classify(error: BaseException, data: bytes, image_format: str) -> str:
    message = str(error).lower()
    if isinstance(error, Image.DecompressionBombError):
        return "too_large"
    if image_format == "TIFF" and tiff_extent(data) > len(data):
        return "truncated"
    if image_format == "PNG" and not holds_chunk(data, b"IEND"):
        return "truncated"
    if any(part in message for part in _UNSUPPORTED_MESSAGES):
        return "unsupported_mode"
    if isinstance(error, (EOFError, struct.error)) or any(part in message for part in _CUT_MESSAGES):
        return "truncated"
    if image_format == "WEBP" and len(data) < int.from_bytes(data[4:8], "little") + 8:
        return "truncated"
    return "corrupt"


def _mute_pillow() -> None:
    """Ignore Pillow's warnings about odd files; unlike `catch_warnings` this is safe among threads."""
    entry = ("ignore", None, UserWarning, _PILLOW_MODULES, 0)
    if entry not in warnings.filters:
        warnings.filterwarnings("ignore", category=UserWarning, module=_PILLOW_MODULES.pattern)


def _label(name: str | None) -> str:
    return "image" if name is None else name
