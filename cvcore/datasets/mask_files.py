"""Masks as files hold them: a class id for every pixel."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from cvcore.errors import ImageError
from cvcore.image.png import PaletteWriter
from cvcore.ops.masks import decode_rle, segmentation_rle

IGNORED = 255
"""The class id of pixels that are not judged."""

BINARY = (0, 255)
"""Pixel values of masks that programs draw in black and white."""

_READERS = (PngImageFile, TiffImageFile, BmpImageFile, GifImageFile)
_PLAIN_MODES = ("1", "L", "P")
_COLOURS = 256
MAX_PIXELS = 2**30
"""Of a mask, which is held whole: 1 GiB of class ids."""

Mask = npt.NDArray[np.uint8]


def read_mask(data: bytes, *, name: str) -> Mask:
    """The pixel values of a mask file, (H, W): gray levels, or indices into its palette.

    Raises:
        ImageError: `corrupt` for what cannot be decoded, `unsupported` for colours or more than 256 levels,
            `too_large` for more than `MAX_PIXELS`.
    """
    try:
        with open_mask(data) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(
                    "too_large", f"{name}: {image.width}x{image.height} pixels, more than {MAX_PIXELS:,}"
                )
            if image.mode not in _PLAIN_MODES:
                raise ImageError(
                    "unsupported",
                    f"{name} is of mode {image.mode}: a mask holds one class id a pixel, as gray levels or "
                    "indices into a palette",
                )
            return np.array(image.convert("L") if image.mode == "1" else image, np.uint8)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError("corrupt", f"{name} cannot be decoded: {error}") from error


def open_mask(data: bytes) -> Image.Image:
    """A mask file, not decoded, as `Image.open` gives it, but that it knows no limit of its own.

    Raises:
        OSError: for what is no PNG, TIFF, BMP or GIF.
    """
    for reader in _READERS:
        try:
            return reader(io.BytesIO(data))
        except SyntaxError:  # how a reader says that it is another format
            continue
    raise OSError("it is no PNG, TIFF, BMP or GIF")


def encode_mask(mask: Mask) -> bytes:
    """A palette PNG of class ids, (H, W), in the colours of Pascal VOC; `read_mask` gives it back."""
    writer = mask_writer(height=mask.shape[0], width=mask.shape[1])
    writer.write(mask)
    return writer.finish()


def mask_writer(*, height: int, width: int) -> PaletteWriter:
    """What `encode_mask` gives, row by row."""
    return PaletteWriter(height=height, width=width, palette=voc_palette())


def voc_palette() -> npt.NDArray[np.uint8]:
    """Pascal VOC's colours, (256, 3) RGB: the bits of a class id, taken in turn, from the highest of each."""
    ids = np.arange(_COLOURS)
    colours = np.zeros((_COLOURS, 3), np.int64)
    for place in range(8):
        for channel in range(3):
            colours[:, channel] |= ((ids >> (3 * place + channel)) & 1) << (7 - place)
    return colours.astype(np.uint8)


def class_ids(values: Mask, known: Sequence[int]) -> tuple[Mask, list[int]]:
    """Class ids of pixel values, of which the k-th of `known` is class k; and the values that are no class.

    Those become `IGNORED`, as the value 255 does where it is no class.
    """
    table = np.full(_COLOURS, IGNORED, np.uint8)
    table[list(known)] = np.arange(len(known))
    # Pillow takes one byte a pixel for it; as an index of NumPy's, each would become eight.
    found = np.array(Image.fromarray(values).point(table.tolist()))
    return found, sorted(present_values(values) - {*known, IGNORED})


def present_values(values: Mask) -> set[int]:
    """The values that some pixel has."""
    return {value for value, count in enumerate(Image.fromarray(values).histogram()) if count}


def draw_instances(
    shapes: Iterable[tuple[int, Mapping[str, Any] | Sequence[Sequence[float]], bool]],
    *,
    height: int,
    width: int,
) -> Mask:
    """COCO's instances as one map of classes, (H, W); 0 is the background.

    Larger ones are drawn first, so that what lies on them is seen; crowds, which are no single object, are
    not judged where nothing else lies.

    Args:
        shapes: class id, segmentation (polygons of x, y, x, y ... in pixels, or an RLE), and whether it is a
            crowd.
        height, width: of the image, pixels.

    Raises:
        ValueError: for a segmentation that is none.
    """
    drawn = [
        (crowd, class_id, _decoded(shape, height=height, width=width)) for class_id, shape, crowd in shapes
    ]
    found = np.zeros((height, width), np.uint8)
    for crowd, class_id, mask in sorted(drawn, key=lambda each: (not each[0], -int(each[2].sum()))):
        found[mask] = IGNORED if crowd else class_id
    return found


def _decoded(shape: Any, *, height: int, width: int) -> npt.NDArray[np.bool_]:
    rle = segmentation_rle(shape, height=height, width=width)
    return decode_rle(rle, height=height, width=width)
