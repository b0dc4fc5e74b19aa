"""Which images a segmenter did worst on, with small maps of them; memory does not grow with their number."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cvcore.metrics.segmentation import Counts, mean_iou
from jobs.report.map_pictures import shrunk
from jobs.report.pictures import MAX_SIDE_PX

KEPT = 24

Map = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class JudgedImage:
    """An image's maps, at most `MAX_SIDE_PX` on either side.

    Attributes:
        name: in the dataset.
        width, height: of the image, pixels.
        iou: mean over the classes that are in it, in truth or found.
        error: share of judged pixels whose class is wrong.
        truth, found: (h, w) class ids; 255 of truth is not judged.
    """

    name: str
    width: int
    height: int
    iou: float
    error: float
    truth: Map
    found: Map


class WorstMaps:
    """Keeps the images of the least mean IoU, of equals the first by name."""

    def __init__(self, size: int = KEPT) -> None:
        self._size = size
        self._kept: list[tuple[tuple[float, str], JudgedImage]] = []

    def add(self, name: str, truth: Map, found: Map, counts: Counts) -> None:
        """Consider an image, (H, W) class ids each; `counts` is its confusion matrix."""
        iou, total = mean_iou(counts), int(counts.sum())
        if math.isnan(iou):
            return
        key = (-iou, "".join(chr(0x10FFFF - ord(char)) for char in name))  # the heap's least goes first
        if len(self._kept) == self._size and key <= self._kept[0][0]:
            return
        height, width = truth.shape
        error = 1 - float(np.trace(counts)) / total
        image = JudgedImage(
            name, width, height, iou, error, shrunk(truth, MAX_SIDE_PX), shrunk(found, MAX_SIDE_PX)
        )
        (heapq.heappush if len(self._kept) < self._size else heapq.heapreplace)(self._kept, (key, image))

    def worst_first(self) -> list[JudgedImage]:
        """Those that were kept."""
        return sorted((image for _, image in self._kept), key=lambda image: (image.iou, image.name))
