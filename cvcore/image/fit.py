"""Fit an image of any size to a model's fixed canvas, and map boxes both ways exactly.

Decoding workers import this module, so it does not import torch: box maps call methods of the tensors given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from cvcore.types import InputSpec

if TYPE_CHECKING:
    from torch import Tensor

MOST_CONTENT = 16
"""Canvases up to which the whole content is drawn, though a part is shown."""


@dataclass(frozen=True, slots=True)
class Fit:
    """An axis-aligned affine map from source pixels to canvas pixels.

    `canvas = source * (scale_x, scale_y) + (left, top)`. The scales are those of the *rounded* content
    size, so the map and its inverse describe the pixels that were really drawn.

    Attributes:
        source_height, source_width: the image, pixels, after EXIF orientation.
        content_height, content_width: the image as drawn on the canvas, pixels.
        top, left: where its corner is on the canvas, pixels; negative where the canvas shows a part of it.
    """

    source_height: int
    source_width: int
    content_height: int
    content_width: int
    top: int = 0
    left: int = 0

    @property
    def scale_x(self) -> float:
        return self.content_width / self.source_width

    @property
    def scale_y(self) -> float:
        return self.content_height / self.source_height

    def to_canvas(self, boxes: Tensor) -> Tensor:
        """Map source boxes, (N, 4) xyxy pixels, to the canvas."""
        return boxes * self._scale(boxes) + self._offset(boxes)

    def to_source(self, boxes: Tensor) -> Tensor:
        """Map canvas boxes, (N, 4) xyxy pixels, back to the source; the inverse of `to_canvas`."""
        return (boxes - self._offset(boxes)) / self._scale(boxes)

    def _scale(self, like: Tensor) -> Tensor:
        return like.new_tensor([self.scale_x, self.scale_y, self.scale_x, self.scale_y])

    def _offset(self, like: Tensor) -> Tensor:
        return like.new_tensor([self.left, self.top, self.left, self.top])


def plan_fit(height: int, width: int, spec: InputSpec) -> Fit:
    """Decide where an image of `height` x `width` pixels goes on the canvas of `spec`.

    Raises:
        ValueError: for an image without pixels.
    """
    if height < 1 or width < 1:
        raise ValueError(f"an image has at least 1x1 pixels, got {height}x{width}")
    if spec.fit == "stretch":
        return Fit(height, width, spec.height, spec.width)
    if spec.fit == "center_crop":
        return _plan_crop(height, width, spec)
    scale = min(spec.height / height, spec.width / width)
    if spec.fit == "shortest_edge":
        scale = min(scale, spec.shortest_edge_px / min(height, width))
    content_height = min(spec.height, max(1, round(height * scale)))
    content_width = min(spec.width, max(1, round(width * scale)))
    if spec.fit == "shortest_edge":
        return Fit(height, width, content_height, content_width)
    top, left = (spec.height - content_height) // 2, (spec.width - content_width) // 2
    return Fit(height, width, content_height, content_width, top, left)


def _plan_crop(height: int, width: int, spec: InputSpec) -> Fit:
    """As torchvision's `resize` and `center_crop` round: the longer side down, the margin to even."""
    shorter, edge = min(height, width), spec.shortest_edge_px
    content_height, content_width = (int(edge * side / shorter) for side in (height, width))
    top, left = round((content_height - spec.height) / 2), round((content_width - spec.width) / 2)
    return Fit(height, width, content_height, content_width, -top, -left)


def draw_fit(image: Image.Image, fit: Fit, spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Draw an RGB image on the canvas of `spec` as `fit` says: (H, W, 3) uint8.

    `image` may be a reduced decoding of the source (JPEG decoders offer halves): only its aspect is used.
    """
    if fit.content_height * fit.content_width > MOST_CONTENT * spec.height * spec.width:
        return _draw_part(image, fit, spec)
    if image.size != (fit.content_width, fit.content_height):
        image = image.resize((fit.content_width, fit.content_height), Image.Resampling.BILINEAR)
    return place_content(np.asarray(image), fit, spec)


def _draw_part(image: Image.Image, fit: Fit, spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Resize only what the canvas shows: the content of a long strip may have any size."""
    across, down = image.width / fit.content_width, image.height / fit.content_height
    box = (
        -fit.left * across,
        -fit.top * down,
        (spec.width - fit.left) * across,
        (spec.height - fit.top) * down,
    )
    inside = (box[0], box[1], min(box[2], image.width), min(box[3], image.height))
    shown = image.resize((spec.width, spec.height), Image.Resampling.BILINEAR, box=inside)
    return np.array(shown, dtype=np.uint8)


def place_content(content: npt.NDArray[np.uint8], fit: Fit, spec: InputSpec) -> npt.NDArray[np.uint8]:
    """Put content that was drawn at the size that `fit` says, (h, w, 3) uint8, on the canvas of `spec`."""
    if fit.top < 0 or fit.left < 0:
        content = content[max(0, -fit.top) :, max(0, -fit.left) :][: spec.height, : spec.width]
    if content.shape[:2] == (spec.height, spec.width):
        return np.array(content, dtype=np.uint8)
    canvas = np.full((spec.height, spec.width, 3), spec.fill, dtype=np.uint8)
    top, left = max(0, fit.top), max(0, fit.left)
    canvas[top : top + content.shape[0], left : left + content.shape[1]] = content
    return canvas


def clip_boxes(boxes: Tensor, *, height: int, width: int) -> Tensor:
    """Clip boxes, (N, 4) xyxy pixels, to an image of `height` x `width` pixels."""
    limit = boxes.new_tensor([width, height, width, height])
    return boxes.clamp(min=0).minimum(limit)
