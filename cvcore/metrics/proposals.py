"""How well class-independent boxes cover objects: recall, and average best overlap.

Uijlings et al. 2013, Selective Search for Object Recognition, section 5 (equations 7 and 8).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.floating]

MIN_IOU = 0.5


@dataclass(frozen=True, slots=True)
class CoveredImage:
    """One image's proposals and objects.

    Attributes:
        boxes: (N, 4) proposals, xyxy, pixels.
        objects: (M, 4) ground truth, xyxy, pixels.
        labels: the M objects' classes.
    """

    boxes: Boxes
    objects: Boxes
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.objects.shape != (len(self.labels), 4) or self.boxes.shape != (len(self.boxes), 4):
            raise ValueError(
                f"boxes must be (N, 4), objects (M, 4) with M labels, got {self.boxes.shape}, "
                f"{self.objects.shape} and {len(self.labels)} labels"
            )


@dataclass(frozen=True, slots=True)
class ProposalMetrics:
    """Shares and overlaps, 0 to 1; NaN where there are no objects.

    Attributes:
        boxes_per_image: mean number of proposals.
        recall: share of all objects that a proposal covers with an IoU of at least 0.5.
        mabo: mean over classes of `per_class_abo`.
        per_class_recall: the share, by class.
        per_class_abo: mean over a class's objects of the best IoU that any proposal has with them.
        num_images, num_objects: what was looked at.
    """

    boxes_per_image: float
    recall: float
    mabo: float
    per_class_recall: dict[str, float]
    per_class_abo: dict[str, float]
    num_images: int
    num_objects: int


def best_overlaps(boxes: Boxes, objects: Boxes) -> npt.NDArray[np.float64]:
    """For each of M objects, (M, 4), the greatest IoU of any of N boxes, (N, 4): (M,); 0 without boxes."""
    if not len(boxes) or not len(objects):
        return np.zeros(len(objects))
    a, b = boxes[None].astype(np.float64), objects[:, None].astype(np.float64)  # (1, N, 4), (M, 1, 4)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = sides.clip(min=0).prod(axis=-1)  # (M, N)
    union = _areas(a) + _areas(b) - common
    overlaps = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return np.asarray(overlaps.max(axis=1))


def _areas(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray((boxes[..., 2:] - boxes[..., :2]).prod(axis=-1))


def evaluate_proposals(images: Iterable[CoveredImage]) -> ProposalMetrics:
    """Measure proposals against ground truth, image by image."""
    by_class: dict[str, list[float]] = {}
    num_images = num_boxes = 0
    for image in images:
        num_images += 1
        num_boxes += len(image.boxes)
        for label, best in zip(image.labels, best_overlaps(image.boxes, image.objects), strict=True):
            by_class.setdefault(label, []).append(float(best))
    overlaps = [each for found in by_class.values() for each in found]
    abo = {label: float(np.mean(by_class[label])) for label in sorted(by_class)}
    return ProposalMetrics(
        boxes_per_image=num_boxes / num_images if num_images else float("nan"),
        recall=_share(overlaps),
        mabo=float(np.mean(list(abo.values()))) if abo else float("nan"),
        per_class_recall={label: _share(by_class[label]) for label in sorted(by_class)},
        per_class_abo=abo,
        num_images=num_images,
        num_objects=len(overlaps),
    )


def _share(overlaps: list[float]) -> float:
    return float(np.mean(np.array(overlaps) >= MIN_IOU)) if overlaps else float("nan")
