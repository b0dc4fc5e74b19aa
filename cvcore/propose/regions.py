"""Regions of an image and what grouping compares of them (Uijlings et al. 2013, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

COLOUR_BINS = 25

Planes = npt.NDArray[np.float32]
Bins = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Regions:
    """The N regions of one segmentation.

    Attributes:
        num_pixels: of the image.
        sizes: (N,) int32, pixels.
        boxes: (N, 4) int32, xyxy, pixels.
        colours: (N, 25 C) float32 histograms; each row sums to 1.
        textures: (N, 80 C) float32 histograms; each row sums to 1.
        pairs: (M, 2) int32, neighbours, the smaller number first.
    """

    num_pixels: int
    sizes: npt.NDArray[np.int32]
    boxes: npt.NDArray[np.int32]
    colours: npt.NDArray[np.float32]
    textures: npt.NDArray[np.float32]
    pairs: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.sizes)


def colour_bins(planes: Planes) -> Bins:
    """(H, W, C), 0 to 255, to bins (H, W, C), 0 to 24."""
    levels = np.minimum(planes * np.float32(COLOUR_BINS / 256), COLOUR_BINS - 1)
    return np.asarray(levels, np.uint8)


def texture_bins(smoothed: Planes) -> Bins:
    """(H, W, C) to the bins, 0 to 9, of derivatives in 8 orientations, (H, W, C, 8).

    `smoothed` has been through a Gaussian of 0.8 pixels: with the central differences taken here, that is a
    Gaussian derivative of about 1 pixel. Bins divide the range up to the channel's steepest slope.
    """
    from cvcore.propose.region_kernels import texture_bins as compute

    return compute(np.ascontiguousarray(smoothed))


def describe_regions(labels: Labels, colours: Bins, textures: Bins) -> Regions:
    """Measure the regions of (H, W) labels, every number from 0 up in use, over an image's bins."""
    from cvcore.propose import region_kernels

    num = int(labels.max()) + 1
    sizes, boxes = region_kernels.measure(labels, num)
    flat = np.ascontiguousarray(labels).reshape(-1)
    columns = colours.reshape(len(flat), -1), textures.reshape(len(flat), -1)
    colour_counts = region_kernels.count_bins(flat, columns[0], num, COLOUR_BINS)
    texture_counts = region_kernels.count_bins(flat, columns[1], num, region_kernels.TEXTURE_BINS)
    return Regions(
        num_pixels=flat.size,
        sizes=sizes,
        boxes=boxes,
        colours=colour_counts / colour_counts.sum(axis=1, keepdims=True),
        textures=texture_counts / texture_counts.sum(axis=1, keepdims=True),
        pairs=neighbour_pairs(labels),
    )


def neighbour_pairs(labels: Labels) -> npt.NDArray[np.int32]:
    """Regions that share a side of a pixel: (M, 2) int32, in order, the smaller number first."""
    num = int(labels.max()) + 1
    found = []
    for first, second in ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])):
        border = first != second
        a, b = first[border], second[border]
        found.append(np.minimum(a, b).astype(np.int64) * num + np.maximum(a, b))
    codes = np.unique(np.concatenate(found))
    return np.stack([codes // num, codes % num], axis=1).astype(np.int32)
