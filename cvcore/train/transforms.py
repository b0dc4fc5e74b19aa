"""Transforms on tv_tensors that `torchvision.transforms.v2` does not have.

Boxes that are lost on the way become zeros, as `v2.RandomIoUCrop` leaves them; whoever runs a pipeline drops
them at its end.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from cvcore.datasets.mask_files import IGNORED
from cvcore.train.views import moved_boxes

# `Mask`s are resized by torchvision's other nearest neighbour, which is half a pixel beside the image.
NEAREST = v2.InterpolationMode.NEAREST_EXACT


class Regions(tv_tensors.BoundingBoxes):  # type: ignore[misc]
    """Boxes of regions that a model is given: carried along, with no say in how a view is chosen."""


class Instances(tv_tensors.Mask):  # type: ignore[misc]
    """Masks of objects, (N, H, W) of 0 and 1: nothing of an object lies outside of the image."""


class Resize(v2.Resize):  # type: ignore[misc]
    """torchvision's, but for masks, which go where the image goes."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if not isinstance(inpt, tv_tensors.Mask):
            return super().transform(inpt, params)
        scaled = F.resize(inpt.as_subclass(Tensor)[None], self.size, NEAREST)[0]
        return tv_tensors.wrap(scaled, like=inpt)


class Turn(v2.Transform):  # type: ignore[misc]
    """A turn by quarters on a square canvas, by halves on another; exact in pixels and boxes."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = v2.query_size(flat_inputs)
        step = 1 if height == width else 2
        return {"quarters": step * int(torch.randint(4 // step, ()))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.Image | tv_tensors.Mask):
            turned = torch.rot90(inpt.as_subclass(Tensor), params["quarters"], (-2, -1))
            return tv_tensors.wrap(turned, like=inpt)
        if isinstance(inpt, tv_tensors.BoundingBoxes):
            return quarters_turned(inpt, params["quarters"])
        return inpt


def quarters_turned(boxes: Any, quarters: int) -> Any:
    """Bounding boxes (N, 4) xyxy turned counter-clockwise with their canvas."""
    height, width = boxes.canvas_size
    x1, y1, x2, y2 = boxes.as_subclass(Tensor).unbind(dim=1)
    for _ in range(quarters % 4):
        x1, y1, x2, y2 = y1, width - x2, y2, width - x1
        height, width = width, height
    return tv_tensors.wrap(torch.stack([x1, y1, x2, y2], dim=1), like=boxes, canvas_size=(height, width))


class Jitter(v2.Transform):  # type: ignore[misc]
    """A random scale, and a random place on the same canvas (Redmon et al. 2015, YOLO, section 2.2).

    Scales are as likely to shrink as to enlarge by the same factor. `v2.RandomAffine` keeps boxes of which
    nothing is seen, and resamples in floats, at several times the cost.

    Args:
        min_zoom, max_zoom: range of the scale.
        min_visible: the least share of its area that a box must keep.
        fill: gray level outside the image; class maps have 255 there, which is not judged.
    """

    def __init__(self, *, min_zoom: float, max_zoom: float, min_visible: float, fill: int) -> None:
        super().__init__()
        self.min_zoom, self.max_zoom = min_zoom, max_zoom
        self.min_visible, self.fill = min_visible, fill

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        height, width = v2.query_size(flat_inputs)
        share, *corner = torch.rand(3).tolist()
        zoom = self.min_zoom * (self.max_zoom / self.min_zoom) ** share
        size = (max(1, round(height * zoom)), max(1, round(width * zoom)))
        return {
            "size": size,
            "top": round(corner[0] * (height - size[0])),
            "left": round(corner[1] * (width - size[1])),
        }

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        size, top, left = params["size"], params["top"], params["left"]
        if isinstance(inpt, tv_tensors.Image):
            scaled = F.resize(inpt.as_subclass(Tensor), list(size))
            return self._placed(inpt, scaled, top=top, left=left, fill=self.fill)
        if isinstance(inpt, tv_tensors.Mask):
            scaled = F.resize(inpt.as_subclass(Tensor)[None], list(size), NEAREST)[0]
            outside = 0 if isinstance(inpt, Instances) else IGNORED
            return self._placed(inpt, scaled, top=top, left=left, fill=outside)
        if isinstance(inpt, tv_tensors.BoundingBoxes):
            height, width = inpt.canvas_size
            scale = torch.tensor([size[1] / width, size[0] / height])
            shift = torch.tensor([float(left), float(top)])
            moved = moved_boxes(
                inpt.as_subclass(Tensor), scale, shift, (0, 0, width, height), self.min_visible
            )
            return tv_tensors.wrap(moved, like=inpt)
        return inpt

    @staticmethod
    def _placed(before: Any, scaled: Tensor, *, top: int, left: int, fill: int) -> Any:
        """What is seen of (..., h, w) on a canvas as large as `before`, which says what it is."""
        height, width = before.shape[-2:]
        canvas = torch.full_like(before.as_subclass(Tensor), fill)
        x1, y1 = max(0, left), max(0, top)
        x2, y2 = min(width, left + scaled.shape[-1]), min(height, top + scaled.shape[-2])
        canvas[..., y1:y2, x1:x2] = scaled[..., y1 - top : y2 - top, x1 - left : x2 - left]
        return tv_tensors.wrap(canvas, like=before)


class IouCrop(v2.RandomIoUCrop):  # type: ignore[misc]
    """SSD's crop (Liu et al. 2016, section 2.2), of images with given regions too.

    The whole image, a patch of any place, or one whose overlap with some box is at least 0.1, 0.3, 0.5, 0.7
    or 0.9; boxes stay whose centres lie in it. An image without boxes is left as it is.
    """

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        if not any(
            len(boxes)
            for boxes in flat_inputs
            if isinstance(boxes, tv_tensors.BoundingBoxes) and not isinstance(boxes, Regions)
        ):
            return {}
        found: dict[str, Any] = super().make_params(flat_inputs)
        return found

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, Regions) and params:
            place = {name: params[name] for name in ("top", "left", "height", "width")}
            return self._call_kernel(F.crop, inpt, **place)
        return super().transform(inpt, params)
