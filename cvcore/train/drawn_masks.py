"""Masks on a model's canvas, where their image lies on it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from cvcore.datasets.mask_files import Mask
from cvcore.image.fit import Fit
from cvcore.types import InputSpec


def draw_mask(mask: Mask, fit: Fit, spec: InputSpec, *, outside: int) -> Mask:
    """A mask, (source height, source width) uint8, on the canvas of `spec`, (H, W).

    Each pixel has the value of the nearest of the image, and `outside` beyond it.
    """
    canvas = np.full((spec.height, spec.width), outside, np.uint8)
    size = (fit.content_width, fit.content_height)
    scaled = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    canvas[fit.top : fit.top + fit.content_height, fit.left : fit.left + fit.content_width] = scaled
    return canvas
