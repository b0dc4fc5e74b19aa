"""Class maps as pictures to lay over images: palette PNGs in the labels' colours."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from cvcore.datasets.coco_shapes import BACKGROUND
from cvcore.datasets.mask_files import IGNORED
from jobs.report.colors import label_color, parse_color
from jobs.report.pictures import data_uri

WRONG = "#e5484d"


def class_colors(labels: Sequence[str]) -> list[str]:
    """The `#rrggbb` of each class, or `transparent` of a background."""
    return ["transparent" if label == BACKGROUND else label_color(k) for k, label in enumerate(labels)]


def shrunk(ids: npt.NDArray[np.uint8], side_px: int) -> npt.NDArray[np.uint8]:
    """(H, W) class ids with at most `side_px` on either side; each pixel has that of the nearest."""
    height, width = ids.shape
    scale = min(1.0, side_px / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.array(Image.fromarray(ids).resize(size, Image.Resampling.NEAREST))


def map_uri(ids: npt.NDArray[np.uint8], labels: Sequence[str]) -> str:
    """A PNG data URI of (h, w) class ids; the background, and what is not judged, cannot be seen."""
    clear = {IGNORED, *(k for k, label in enumerate(labels) if label == BACKGROUND)}
    return _png_uri(ids, [label_color(k) for k in range(len(labels))], clear)


def wrong_uri(truth: npt.NDArray[np.uint8], found: npt.NDArray[np.uint8]) -> str:
    """The same of the judged pixels whose class is wrong."""
    wrong = (truth != found) & (truth != IGNORED)
    return _png_uri(wrong.astype(np.uint8), ["#000000", WRONG], {0})


def _png_uri(ids: npt.NDArray[np.uint8], colors: Sequence[str], clear: set[int]) -> str:
    picture = Image.fromarray(ids, "P")
    picture.putpalette([channel for color in colors for channel in parse_color(color)])
    buffer = io.BytesIO()
    alphas = bytes(0 if k in clear else 255 for k in range(256))
    picture.save(buffer, "PNG", transparency=alphas, optimize=True)
    return data_uri(buffer.getvalue(), "png")
