"""Selective search: class-independent boxes that are likely to hold objects.

Uijlings, van de Sande, Gevers and Smeulders 2013, Selective Search for Object Recognition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from cvcore.propose.colour import ColourSpace, to_space
from cvcore.propose.group import Measures, group_regions
from cvcore.propose.options import SelectiveSearchOptions, StrategyName
from cvcore.propose.regions import colour_bins, describe_regions, texture_bins
from cvcore.propose.segment import GraphSegmentation, smooth

Boxes = npt.NDArray[np.float32]

_CTSF = Measures(colour=True, texture=True, size=True, fill=True)
_TSF = Measures(texture=True, size=True, fill=True)
_FILL = Measures(fill=True)
_SIZE = Measures(size=True)


@dataclass(frozen=True, slots=True)
class Diversity:
    """The groupings that are combined: each space with each scale of segmentation with each similarity."""

    spaces: tuple[ColourSpace, ...]
    scales: tuple[int, ...]
    measures: tuple[Measures, ...]


DIVERSITIES: dict[StrategyName, Diversity] = {
    "single": Diversity(("hsv",), (100,), (_CTSF,)),
    "fast": Diversity(("hsv", "lab"), (50, 100), (_CTSF, _TSF)),
    "quality": Diversity(
        ("hsv", "lab", "rgi", "hue", "intensity"), (50, 100, 150, 300), (_CTSF, _TSF, _FILL, _SIZE)
    ),
}


def selective_search(
    image: npt.NDArray[np.uint8], options: SelectiveSearchOptions | None = None
) -> npt.NDArray[np.float32]:
    """Boxes of an RGB image, (H, W, 3): (N, 4) float32, xyxy, pixels of the image, best first, no two alike.

    The order is the paper's (section 3.3): a region's place in its hierarchy, the whole image first, times a
    pseudo-random number.

    Raises:
        ValueError: if the image has another shape or type.
    """
    options = options or SelectiveSearchOptions()
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"an image is (H, W, 3) uint8 and not empty, got {image.shape} {image.dtype}")
    searched = _shrink(image, options.max_side)
    hierarchies = list(_hierarchies(searched, options))
    boxes = _mix(hierarchies, seed=options.seed)
    scale = np.array([image.shape[1] / searched.shape[1], image.shape[0] / searched.shape[0]] * 2)
    found = (boxes * scale).astype(np.float32)
    sides = np.minimum(found[:, 2] - found[:, 0], found[:, 3] - found[:, 1])
    return np.asarray(found[sides >= options.min_side_px][: options.max_boxes])


def _shrink(image: npt.NDArray[np.uint8], max_side: int | None) -> npt.NDArray[np.uint8]:
    longer = max(image.shape[:2])
    if max_side is None or longer <= max_side:
        return image
    height, width = (max(1, round(side * max_side / longer)) for side in image.shape[:2])
    small = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(small)


def _hierarchies(
    image: npt.NDArray[np.uint8], options: SelectiveSearchOptions
) -> Iterator[npt.NDArray[np.int32]]:
    """The boxes of each grouping, the whole image first."""
    diversity = DIVERSITIES[options.strategy]
    for space in diversity.spaces:
        planes = to_space(image, space)
        smoothed = smooth(planes, options.sigma)
        colours, textures = colour_bins(planes), texture_bins(smoothed)
        segmentation = GraphSegmentation(smoothed)
        for k in diversity.scales:
            regions = describe_regions(segmentation.labels(k, min_size=k), colours, textures)
            for measures in diversity.measures:
                yield group_regions(regions, measures).boxes[::-1]


def _mix(hierarchies: list[npt.NDArray[np.int32]], *, seed: int) -> npt.NDArray[np.int32]:
    """All boxes in one order, duplicates dropped but for the first."""
    generator = np.random.default_rng(seed)
    places = np.concatenate([np.arange(1, len(boxes) + 1) for boxes in hierarchies])
    order = np.argsort(places * generator.random(len(places)), kind="stable")
    boxes = np.concatenate(hierarchies)[order]
    _, first = np.unique(boxes, axis=0, return_index=True)
    return boxes[np.sort(first)]
