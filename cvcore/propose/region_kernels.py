"""Loops over the pixels of regions, compiled."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cvcore.propose.compiled import compiled

TEXTURE_BINS = 10
NUM_ORIENTATIONS = 8
_DIAGONAL = np.float32(0.5**0.5)


@compiled
def slopes(planes: npt.NDArray[np.float32], y: int, x: int, c: int) -> tuple[float, float, float, float]:
    """Derivatives of a channel to the right, right down, down and left down, by central differences."""
    height, width = planes.shape[:2]
    gx = (planes[y, min(x + 1, width - 1), c] - planes[y, max(x - 1, 0), c]) / 2
    gy = (planes[min(y + 1, height - 1), x, c] - planes[max(y - 1, 0), x, c]) / 2
    return gx, (gx + gy) * _DIAGONAL, gy, (gy - gx) * _DIAGONAL


@compiled
def texture_bins(planes: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """(H, W, C) to the bins, (H, W, C, 8), of derivatives in 8 orientations over the full circle."""
    height, width, channels = planes.shape
    most = np.full(channels, np.float32(1e-6))
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                for slope in slopes(planes, y, x, c):
                    most[c] = max(most[c], abs(slope))
    bins = np.zeros((height, width, channels, NUM_ORIENTATIONS), np.uint8)
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                for place, slope in enumerate(slopes(planes, y, x, c)):
                    level = min(int(abs(slope) * TEXTURE_BINS / most[c]), TEXTURE_BINS - 1)
                    bins[y, x, c, place if slope >= 0 else place + 4] = level
    return bins


@compiled
def count_bins(
    labels: npt.NDArray[np.int32], bins: npt.NDArray[np.uint8], num: int, num_bins: int
) -> npt.NDArray[np.float32]:
    """Histograms, (num, D * num_bins), over regions' pixels of each of the D columns of bins (P, D)."""
    pixels, columns = bins.shape
    counts = np.zeros((num, columns * num_bins), np.float32)
    for pixel in range(pixels):
        label = labels[pixel]
        for column in range(columns):
            counts[label, column * num_bins + bins[pixel, column]] += 1
    return counts


@compiled
def measure(labels: npt.NDArray[np.int32], num: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Pixels, (num,), and tight boxes, (num, 4) xyxy, of the regions of (H, W) labels."""
    height, width = labels.shape
    sizes = np.zeros(num, np.int32)
    boxes = np.zeros((num, 4), np.int32)
    boxes[:, 0], boxes[:, 1] = width, height
    for y in range(height):
        for x in range(width):
            label = labels[y, x]
            sizes[label] += 1
            boxes[label, 0] = min(boxes[label, 0], x)
            boxes[label, 1] = min(boxes[label, 1], y)
            boxes[label, 2] = max(boxes[label, 2], x + 1)
            boxes[label, 3] = max(boxes[label, 3], y + 1)
    return sizes, boxes
