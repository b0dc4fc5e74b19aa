"""What is in a dataset, in figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cvcore.datasets.records import BoxDataset

SMALL_PX2, LARGE_PX2 = 32.0**2, 96.0**2
"""COCO's bounds of area: small below the first, large from the second on."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How numbers lie: NaN throughout where there are none."""

    min: float
    p5: float
    median: float
    mean: float
    p95: float
    max: float


@dataclass(frozen=True, slots=True)
class ClassCount:
    """Of one class: images that show it, and boxes."""

    label: str
    num_images: int
    num_boxes: int


@dataclass(frozen=True, slots=True)
class DatasetStats:
    """Figures of a dataset.

    Attributes:
        num_images, num_boxes, num_without_boxes: counts; the last one of images.
        classes: in the order of the labels, unused ones too.
        boxes_per_image: over all images.
        sizes: boxes that are small, medium and large by COCO's bounds of their area, which is the object's
            where that is stated, else the box's.
        aspect_ratios: width by height, of boxes.
        widths, heights: of images, pixels.
        common_sizes: the most common (width, height) of images, with their counts.
        flags: boxes that are crowds, difficult, truncated.
    """

    num_images: int
    num_boxes: int
    num_without_boxes: int
    classes: tuple[ClassCount, ...]
    boxes_per_image: Spread
    sizes: Mapping[str, int]
    aspect_ratios: Spread
    widths: Spread
    heights: Spread
    common_sizes: tuple[tuple[tuple[int, int], int], ...]
    flags: Mapping[str, int]


def dataset_stats(dataset: BoxDataset) -> DatasetStats:
    """Count what a dataset holds."""
    images = dataset.images
    boxes = np.concatenate([np.zeros((0, 4)), *(image.boxes for image in images)])
    sides = boxes[:, 2:] - boxes[:, :2]
    facts = [each for image in images for each in image.attributes]
    areas = np.array(
        [_area(each.get("area"), w * h) for each, (w, h) in zip(facts, sides.tolist(), strict=True)]
    )
    shown = Counter(int(k) for image in images for k in np.unique(image.label_ids))
    counts = Counter(int(k) for image in images if len(image.boxes) for k in image.label_ids)
    small, large = int((areas < SMALL_PX2).sum()), int((areas >= LARGE_PX2).sum())
    return DatasetStats(
        num_images=len(images),
        num_boxes=len(boxes),
        num_without_boxes=sum(not len(image.boxes) for image in images),
        classes=tuple(ClassCount(label, shown[k], counts[k]) for k, label in enumerate(dataset.labels)),
        boxes_per_image=_spread(np.array([len(image.boxes) for image in images])),
        sizes={"small": small, "medium": len(areas) - small - large, "large": large},
        aspect_ratios=_spread(sides[:, 0] / sides[:, 1]),
        widths=_spread(np.array([image.width for image in images])),
        heights=_spread(np.array([image.height for image in images])),
        common_sizes=tuple(Counter((image.width, image.height) for image in images).most_common(5)),
        flags={flag: sum(bool(f.get(flag)) for f in facts) for flag in ("crowd", "difficult", "truncated")},
    )


def _area(stated: object, extent: float) -> float:
    return float(stated) if isinstance(stated, (int, float)) else extent


def _spread(values: npt.NDArray[np.generic]) -> Spread:
    if not len(values):
        return Spread(*[float("nan")] * 6)
    numbers = values.astype(np.float64)
    p5, median, p95 = np.percentile(numbers, (5, 50, 95)).tolist()
    return Spread(float(numbers.min()), p5, median, float(numbers.mean()), p95, float(numbers.max()))
