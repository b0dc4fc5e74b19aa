"""Random views of a sample, of named steps; its boxes, or its mask, are carried along.

What `torchvision.transforms.v2` has is taken from there (mirroring, SSD's crop, zoom-out and colours); the
rest is in `cvcore.train.transforms` and `cvcore.train.mosaic`. A view depends on nothing but the sample, the
options and the random numbers it is handed: not on other threads, nor on torch's global generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from cvcore.image.fit import clip_boxes
from cvcore.train.draws import DrawsFrom
from cvcore.train.mosaic import NUM_TILES, mosaic
from cvcore.train.transforms import Instances, IouCrop, Jitter, Regions, Resize, Turn
from cvcore.train.views import View, large_enough
from cvcore.types import Augmentation

_EXPOSURE, _HUE = 1.5, 0.1
_ZOOM_OUT = (1.0, 4.0)


@dataclass(frozen=True, slots=True)
class AugmentOptions:
    """How views differ from the sample.

    Attributes:
        steps: which of these are made, whatever their order here:
            `mosaic`: four images in one;
            `hsv`: brightness and saturation by a factor of up to 1.5, hue by up to a tenth of its circle
            (YOLO v1, section 2.2);
            `colour`: SSD's photometric distortion: brightness, contrast, saturation, hue, order of channels;
            `zoom`: the image on a canvas of up to four times its sides (SSD, section 3.6);
            `crop`: a patch that overlaps some box by a random least share (SSD, section 2.2);
            `jitter`: another scale and place;
            `flip`: mirrored left to right, half of the time;
            `turn`: turned by quarters where the canvas is square, by halves otherwise; right for things seen
            from above.
        min_zoom, max_zoom: range of `jitter`'s scale.
        strength: of `hsv` and `colour`, 0 to 1 for as far as above.
        min_visible: boxes that keep less of their area than this in `jitter` and `mosaic` are dropped, 0 to
            1; `crop` keeps those whose centre is seen, as its paper does.
        fill: gray level outside the image, 0 to 255.
    """

    steps: tuple[Augmentation, ...] = ("flip", "jitter", "hsv")
    min_zoom: float = 0.75
    max_zoom: float = 1.35
    strength: float = 1.0
    min_visible: float = 0.3
    fill: int = 128

    def calmer(self) -> AugmentOptions:
        """The same, but half as far: for the end of a run, on pictures like those that it will meet."""
        return replace(
            self,
            steps=tuple(step for step in self.steps if step != "mosaic"),
            min_zoom=self.min_zoom**0.5,
            max_zoom=self.max_zoom**0.5,
            strength=self.strength / 2,
        )


def augment(
    view: View, options: AugmentOptions, rng: np.random.Generator, *, others: Sequence[View] = ()
) -> View:
    """Draw one random view.

    Args:
        view: the sample as it is.
        options: how the view may differ from it.
        rng: the only source of randomness.
        others: three more samples, for `mosaic`.

    Returns:
        A view of the same size, whose boxes have sides of at least 2 pixels; it may have none.
    """
    if "mosaic" in options.steps:
        tiles = [view, *others]
        view = mosaic(
            [tiles[k] for k in rng.permutation(NUM_TILES)] if len(tiles) == NUM_TILES else tiles,
            rng,
            min_visible=options.min_visible,
        )
    return _unwrapped(*transformed(view.canvas, _wrapped(view), options, rng))


def augment_mask(
    canvas: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.uint8],
    options: AugmentOptions,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Draw one random view of an image with a mask, by those of the steps that are in `MASK_STEPS`.

    Args:
        canvas: (H, W, 3) uint8.
        mask: (H, W) uint8 class ids; a pixel that shows nothing of the canvas becomes 255.
        options: how the view may differ from it.
        rng: the only source of randomness.
    """
    image, moved = transformed(canvas, (tv_tensors.Mask(torch.from_numpy(mask)),), options, rng)
    return _pixels(image), np.ascontiguousarray(moved.as_subclass(Tensor).numpy())


def transformed(
    canvas: npt.NDArray[np.uint8], others: tuple[Any, ...], options: AugmentOptions, rng: np.random.Generator
) -> tuple[Any, ...]:
    """A canvas (H, W, 3), and what lies on it, under all steps but `mosaic`, as tv_tensors."""
    height, width = canvas.shape[:2]
    with DrawsFrom(torch.Generator().manual_seed(int(rng.integers(2**62)))):
        image = Image.fromarray(canvas)
        for recolour in _colours(options):
            image = recolour(image)
        parts = (tv_tensors.Image(torch.from_numpy(np.array(image)).permute(2, 0, 1)), *others)
        for move in _moves(options, height=height, width=width):
            parts = move(*parts)
    return parts


def _colours(options: AugmentOptions) -> list[Any]:
    """Run on Pillow images: hue takes torch's kernels twice as long."""
    steps: list[Any] = []
    strength = options.strength
    if "hsv" in options.steps:
        factor = (_EXPOSURE**-strength, _EXPOSURE**strength)
        steps.append(v2.ColorJitter(brightness=factor, saturation=factor, hue=_HUE * strength))
    if "colour" in options.steps:
        near, far = 0.125 * strength, 0.5 * strength
        steps.append(
            v2.RandomPhotometricDistort(
                brightness=(1 - near, 1 + near),
                contrast=(1 - far, 1 + far),
                saturation=(1 - far, 1 + far),
                hue=(-0.05 * strength, 0.05 * strength),
            )
        )
    return steps


def _moves(options: AugmentOptions, *, height: int, width: int) -> list[Any]:
    steps: list[Any] = []
    if "zoom" in options.steps:
        steps.append(
            v2.RandomZoomOut(fill={tv_tensors.Image: options.fill, "others": 0}, side_range=_ZOOM_OUT)
        )
    if "crop" in options.steps:
        steps.append(IouCrop())
    if steps:
        steps.append(Resize((height, width)))
    if "jitter" in options.steps:
        steps.append(
            Jitter(
                min_zoom=options.min_zoom,
                max_zoom=options.max_zoom,
                min_visible=options.min_visible,
                fill=options.fill,
            )
        )
    if "flip" in options.steps:
        steps.append(v2.RandomHorizontalFlip())
    if "turn" in options.steps:
        steps.append(Turn())
    return steps


def _wrapped(view: View) -> tuple[Any, Tensor, Any, Any]:
    size = view.canvas.shape[:2]
    boxes = tv_tensors.BoundingBoxes(view.boxes, format="XYXY", canvas_size=size)
    regions = None if view.proposals is None else Regions(view.proposals, format="XYXY", canvas_size=size)
    return boxes, view.label_ids, regions, None if view.masks is None else Instances(view.masks)


def _unwrapped(image: Any, boxes: Any, label_ids: Tensor, proposals: Any, masks: Any) -> View:
    own = _clipped(boxes)
    regions = None if proposals is None else _clipped(proposals)
    view = View(
        _pixels(image),
        own,
        label_ids,
        None if regions is None else regions[large_enough(regions)],
        None if masks is None else masks.as_subclass(Tensor),
    )
    return view.with_objects(large_enough(own))


def _pixels(image: Any) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(image.as_subclass(Tensor).permute(1, 2, 0).numpy())


def _clipped(boxes: Any) -> Tensor:
    """Plain tensors, inside of the canvas: resizing rounds."""
    height, width = boxes.canvas_size
    return clip_boxes(boxes.as_subclass(Tensor), height=height, width=width)
