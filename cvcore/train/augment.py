"""Random views of a sample: turned, zoomed and recoloured, with its boxes carried along exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

_SMALLEST_SIDE_PX = 2


@dataclass(frozen=True, slots=True)
class AugmentOptions:
    """How far views differ from the sample.

    Attributes:
        turn: mirror, and turn by quarters where the canvas is square (half turns otherwise). Right for things
            seen from above; set to False where up means something, which leaves left-right mirroring.
        min_zoom, max_zoom: range of the random scale.
        color: strength of brightness, contrast and tint changes; 0 for none.
        min_visible: boxes that keep less of their area than this on the canvas are dropped, 0 to 1.
        fill: gray level outside the image, 0 to 255.
    """

    turn: bool = True
    min_zoom: float = 0.75
    max_zoom: float = 1.35
    color: float = 0.2
    min_visible: float = 0.3
    fill: int = 128


@dataclass(frozen=True, slots=True)
class View:
    """What the network is shown.

    Attributes:
        canvas: (H, W, 3) uint8.
        boxes, label_ids: (N, 4) xyxy canvas pixels, (N,) int64.
        proposals: (P, 4) like the boxes, where the model is given regions.
    """

    canvas: npt.NDArray[np.uint8]
    boxes: Tensor
    label_ids: Tensor
    proposals: Tensor | None = None


def augment(view: View, options: AugmentOptions, rng: np.random.Generator) -> View:
    """Draw one random view."""
    view = turned(view, mirror=bool(rng.random() < 0.5), quarters=_quarters(view, options, rng))
    zoom = float(np.exp(rng.uniform(np.log(options.min_zoom), np.log(options.max_zoom))))
    height, width = view.canvas.shape[:2]
    left, top = rng.uniform(0, 1, 2) * (1 - zoom) * (width, height)
    view = zoomed(view, zoom, left=float(left), top=float(top), options=options)
    return replace(view, canvas=recolored(view.canvas, options.color, rng))


def _quarters(view: View, options: AugmentOptions, rng: np.random.Generator) -> int:
    if not options.turn:
        return 0
    height, width = view.canvas.shape[:2]
    return int(rng.integers(4)) if height == width else 2 * int(rng.integers(2))


def turned(view: View, *, mirror: bool, quarters: int) -> View:
    """Mirror left to right, then turn counter-clockwise by quarters; exact in pixels and boxes."""
    canvas, boxes, proposals = view.canvas, view.boxes, view.proposals
    if mirror:
        width = canvas.shape[1]
        canvas = canvas[:, ::-1]
        boxes = _mirrored(boxes, width)
        proposals = None if proposals is None else _mirrored(proposals, width)
    for _ in range(quarters % 4):
        width = canvas.shape[1]
        canvas = np.rot90(canvas)
        boxes = _quarter_turned(boxes, width)
        proposals = None if proposals is None else _quarter_turned(proposals, width)
    return View(np.ascontiguousarray(canvas), boxes, view.label_ids, proposals)


def _mirrored(boxes: Tensor, width: int) -> Tensor:
    return torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], dim=1)


def _quarter_turned(boxes: Tensor, width: int) -> Tensor:
    return torch.stack([boxes[:, 1], width - boxes[:, 2], boxes[:, 3], width - boxes[:, 0]], dim=1)


def zoomed(view: View, zoom: float, *, left: float, top: float, options: AugmentOptions) -> View:
    """Scale by `zoom` and move the corner to (left, top), canvas pixels; boxes are clipped to the canvas."""
    height, width = view.canvas.shape[:2]
    inverse = (1 / zoom, 0.0, -left / zoom, 0.0, 1 / zoom, -top / zoom)
    fill = (options.fill,) * 3
    image = Image.fromarray(view.canvas).transform(
        (width, height), Image.Transform.AFFINE, inverse, Image.Resampling.BILINEAR, fillcolor=fill
    )

    def moved(boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes on the new canvas, and which of them are left there."""
        whole = boxes * zoom + boxes.new_tensor([left, top, left, top])
        clipped = torch.minimum(whole.clamp(min=0), whole.new_tensor([width, height, width, height]))
        sides = (clipped[:, 2:] - clipped[:, :2]).clamp(min=0)
        seen = sides.prod(dim=1) >= options.min_visible * (whole[:, 2:] - whole[:, :2]).prod(dim=1)
        return clipped, seen & (sides.amin(dim=1) >= _SMALLEST_SIDE_PX)

    boxes, kept = moved(view.boxes)
    proposals = view.proposals
    if proposals is not None:
        places, seen = moved(proposals)
        proposals = places[seen]
    return View(np.asarray(image), boxes[kept], view.label_ids[kept], proposals)


def recolored(
    canvas: npt.NDArray[np.uint8], strength: float, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """An (H, W, 3) canvas under one tone curve a channel: contrast about mid-gray, brightness and tint."""
    if strength <= 0:
        return canvas
    contrast = 1 + rng.uniform(-strength, strength)
    gains = (1 + rng.uniform(-strength, strength)) * (1 + rng.uniform(-strength, strength, 3) / 2)
    levels = ((np.arange(256) - 128) * contrast + 128)[None] * gains[:, None]
    table = np.clip(levels, 0, 255).round().astype(int).ravel().tolist()
    return np.asarray(Image.fromarray(canvas).point(table))
