"""Heat maps as small files: 16-bit gray PNGs, of one scale for all images of a model."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

LEVELS = 2**16 - 1


def encode_heatmap(values: npt.NDArray[np.float32], *, center: float, scale: float) -> bytes:
    """A map, (H, W), as PNG: each value v is stored as 1/2 + arctan((v - center) / scale) / pi of the range.

    The order of values is kept across images, however large or small they are, to a step of 1/65,535.

    Args:
        values: of the map, finite.
        center: the value that is stored as a half.
        scale: above 0; values so far from the center are stored as a quarter and as three quarters.
    """
    if not scale > 0:
        raise ValueError(f"scale must be above 0, got {scale}")
    shares = 0.5 + np.arctan((values.astype(np.float64) - center) / scale) / np.pi
    buffer = io.BytesIO()
    Image.fromarray(np.round(shares * LEVELS).astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def decode_heatmap(body: bytes) -> npt.NDArray[np.float32]:
    """The inverse, (H, W) from 0 to 1: a half is the center."""
    with Image.open(io.BytesIO(body)) as image:
        return (np.asarray(image).astype(np.float64) / LEVELS).astype(np.float32)
