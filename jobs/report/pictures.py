"""Pixels for the page: chosen images shrunk to small JPEGs, masks to tiny palette PNGs, as data URIs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from cvcore.errors import ImageError
from cvcore.image.decode import decode_to_canvas
from cvcore.image.limits import DecodeLimits
from cvcore.ops.masks import decode_rle
from cvcore.types import InputSpec
from jobs.report.colors import parse_color

MAX_SIDE_PX = 512
# Longest side in pixels and JPEG quality, best first: a picture takes the first that fits its allowance.
TIERS = ((512, 86), (512, 78), (512, 70), (448, 68), (384, 64), (320, 60), (256, 50))
MAX_MASK_PIXELS = 100_000_000


@dataclass(frozen=True, slots=True)
class MaskPicture:
    """A mask cut to its own bounds.

    Attributes:
        box: where it lies, xyxy, pixels of the source image.
        uri: a PNG data URI, transparent outside the mask.
    """

    box: tuple[int, int, int, int]
    uri: str


def decode_small(
    body: bytes, *, width: int, height: int, limits: DecodeLimits, max_side_px: int = MAX_SIDE_PX
) -> Image.Image:
    """Decode an image of `width` x `height` pixels to at most so many on either side, upright RGB.

    Large JPEGs are decoded at a fraction of their size, so a few may be decoded at once.

    Raises:
        ImageError: if the bytes are no such image; code `changed` if it has another size.
    """
    scale = min(1.0, max_side_px / max(width, height))
    small = InputSpec(max(1, round(height * scale)), max(1, round(width * scale)), fit="stretch")
    decoded = decode_to_canvas(body, small, limits=limits)
    if (decoded.fit.source_width, decoded.fit.source_height) != (width, height):
        now = f"{decoded.fit.source_width}x{decoded.fit.source_height}"
        raise ImageError("changed", f"it was {width}x{height} pixels, it is {now} now")
    return Image.fromarray(decoded.canvas)


def encode_jpeg(image: Image.Image, *, max_bytes: int) -> bytes:
    """A JPEG of at most about `max_bytes`: smaller and coarser until it fits; the last tier always stands."""
    body = b""
    for side_px, quality in TIERS:
        small = image.copy()
        small.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
        body = buffer.getvalue()
        if len(body) <= max_bytes:
            break
    return body


def data_uri(body: bytes, kind: Literal["jpeg", "png"]) -> str:
    """Bytes of an image as a `data:` URI."""
    return f"data:image/{kind};base64,{base64.b64encode(body).decode('ascii')}"


def draw_mask(rle: dict[str, Any], *, width: int, height: int, color: str) -> MaskPicture | None:
    """Draw one COCO RLE mask in a label's colour.

    Returns None for an empty mask, and for one that is not a mask of a `width` x `height` image.
    """
    if width * height > MAX_MASK_PIXELS:
        return None
    try:
        mask = decode_rle(rle, height=height, width=width)
    except ValueError:
        return None
    if not mask.any():
        return None
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    scale = min(1.0, MAX_SIDE_PX / max(width, height))
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    cut = Image.fromarray(mask[top:bottom, left:right] * np.uint8(255)).resize(size, Image.Resampling.BOX)
    return MaskPicture((left, top, right, bottom), data_uri(_palette_png(cut, color), "png"))


def _palette_png(coverage: Image.Image, color: str) -> bytes:
    """A two-colour PNG: transparent, and `color` where coverage is at least half."""
    picture = coverage.point([int(level >= 128) for level in range(256)], "L").convert("L")
    indexed = Image.frombytes("P", picture.size, picture.tobytes())
    indexed.putpalette([0, 0, 0, *parse_color(color)])
    buffer = io.BytesIO()
    indexed.save(buffer, "PNG", bits=1, transparency=bytes([0, 255]), optimize=True)
    return buffer.getvalue()
