"""Bring a decoded image of any mode to upright 8-bit RGB."""

from __future__ import annotations

import numpy as np
from PIL import ExifTags, Image, ImageChops, TiffImagePlugin

from cvcore.errors import ImageError

_DIRECT = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr"})
_WITH_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_SIXTEEN_BITS = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none or its block is damaged.

    A damaged EXIF block says nothing about the pixels, so it does not fail the image.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return 1  # Pillow's TIFF reader applies the tag itself while it loads.
    if not image.info.keys() & {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}:
        return 1
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (OSError, SyntaxError, ValueError, LookupError, TypeError, EOFError, ArithmeticError):
        return 1
    return orientation if orientation in _UPRIGHT else 1


def swaps_sides(orientation: int) -> bool:
    """Whether turning the image upright exchanges width and height."""
    return orientation >= 5


def turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Undo EXIF `orientation` (Exif 2.32, tag 0x0112)."""
    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return the loaded image as 8-bit RGB.

    Alpha, palette transparency and transparent colours are composited on white. 16-bit gray is scaled from
    its full range, 65535 (or 4095 in a 12-bit TIFF) to 255, rounded. Colour profiles are not applied.

    Raises:
        ImageError: code `unsupported_mode` for float, 32-bit, signed and LAB pixels.
    """
    if image.mode in _SIXTEEN_BITS:
        return _sixteen_bits_to_rgb(image)
    if image.mode not in _DIRECT | _WITH_ALPHA:
        raise ImageError(
            "unsupported_mode",
            f"its pixels are of Pillow's mode {image.mode!r}; 8-bit and unsigned 16-bit gray, palette, RGB, "
            "RGBA, YCbCr and CMYK are read. Convert it, saying which values are black and white",
        )
    if image.has_transparency_data:
        return _on_white(image)
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        # Pillow inverts every CMYK JPEG, but only Adobe's marker says that inks are stored inverted.
        image = ImageChops.invert(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    page = Image.new("RGB", image.size, (255, 255, 255))
    page.paste(rgba, mask=rgba)
    return page


def _sixteen_bits_to_rgb(image: Image.Image) -> Image.Image:
    """Scale by rounding: Pillow's own conversion of this mode to 8 bits clips at 255 instead."""
    levels = np.arange(65536)
    top = 65535
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        if image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE) == (12,):
            top = 4095
        if image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0:
            levels = top - levels  # 0 is white; Pillow inverts 8-bit gray only.
    grays = np.clip((levels * 255 + top // 2) // top, 0, 255).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grays[levels == transparent] = 255
    # A table, since arithmetic on every pixel takes ten times the memory and the time of decoding it.
    return Image.fromarray(grays[np.asarray(image).astype(np.uint16, copy=False)]).convert("RGB")
