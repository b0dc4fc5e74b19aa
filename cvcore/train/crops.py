"""Random views of a picture for classifiers: a crop of any part and shape, mirrored and recoloured.

After Szegedy et al. 2014, Going Deeper with Convolutions, section 6: crops of a random share of the area, of
a random aspect ratio. What is random is drawn from a generator of the view's own and carried out by
torchvision's functions, so that a view is the same whichever thread makes it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

TRIES = 10
ASPECTS = (3 / 4, 4 / 3)
MIN_VISIBLE = 0.6
"""Of the area of a localiser's box: what a crop leaves of it."""


@dataclass(frozen=True, slots=True)
class CropOptions:
    """How far views differ from the picture.

    Attributes:
        height, width: of the view, pixels.
        min_area: smallest share of the picture's area, above 0 to 1.
        mirror: whether half of the views are mirrored, left to right.
        color: strength of the changes of brightness, contrast and saturation, 0 to 1.
    """

    height: int
    width: int
    min_area: float = 0.25
    mirror: bool = True
    color: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.min_area <= 1:
            raise ValueError(f"min_area must be above 0 and at most 1, got {self.min_area}")


def random_view(
    picture: npt.NDArray[np.uint8], box: Tensor | None, options: CropOptions, rng: np.random.Generator
) -> tuple[Tensor, Tensor | None]:
    """Draw one view: (height, width, 3) uint8, and its box, (1, 4) float32 xyxy, shares of its sides.

    `picture` is (H, W, 3) uint8; `box` (1, 4) xyxy, its pixels, of which a view shows at least `MIN_VISIBLE`.
    """
    size = [options.height, options.width]
    top, left, height, width = _crop(picture.shape[0], picture.shape[1], box, options, rng)
    mirrored = options.mirror and rng.random() < 0.5
    planes = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
    view = F.resized_crop(planes, top, left, height, width, size, antialias=True)
    view = _recolored(F.horizontal_flip(view) if mirrored else view, options.color, rng)
    canvas: Tensor = view.permute(1, 2, 0).contiguous()
    if box is None:
        return canvas, None
    canvas_size = (picture.shape[0], picture.shape[1])
    boxes = tv_tensors.BoundingBoxes(box, format="XYXY", canvas_size=canvas_size)
    boxes = F.clamp_bounding_boxes(F.resized_crop(boxes, top, left, height, width, size))
    places = (F.horizontal_flip(boxes) if mirrored else boxes).as_subclass(Tensor)
    return canvas, places / places.new_tensor([options.width, options.height] * 2)


def _crop(
    height: int, width: int, box: Tensor | None, options: CropOptions, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Top, left, height and width, pixels; the whole picture where no crop of so many fits."""
    for _ in range(TRIES):
        area = height * width * rng.uniform(options.min_area, 1)
        aspect = math.exp(rng.uniform(math.log(ASPECTS[0]), math.log(ASPECTS[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if not (0 < w <= width and 0 < h <= height):
            continue
        top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
        if box is None or _visible(box, top, left, h, w) >= MIN_VISIBLE:
            return top, left, h, w
    return 0, 0, height, width


def _visible(box: Tensor, top: int, left: int, height: int, width: int) -> float:
    x1, y1, x2, y2 = box[0].tolist()
    across = min(x2, left + width) - max(x1, left)
    down = min(y2, top + height) - max(y1, top)
    return float(max(0.0, across) * max(0.0, down) / max((x2 - x1) * (y2 - y1), 1e-9))


def _recolored(view: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    if strength <= 0:
        return view
    factors = (1 + rng.uniform(-strength, strength, 3)).tolist()
    changes = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
    for change, factor in zip(changes, factors, strict=True):
        view = change(view, factor)
    return view
