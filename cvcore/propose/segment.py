"""Graph segmentation: the regions that grouping begins with.

Felzenszwalb and Huttenlocher 2004, Efficient Graph-Based Image Segmentation. An image's edges are sorted once
for all scales.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

Planes = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]


def smooth(planes: Planes, sigma: float) -> Planes:
    """(H, W, C) after a Gaussian of `sigma` pixels; 0 leaves it as it is."""
    if sigma == 0:
        return planes
    down = gaussian_filter1d(planes, sigma, axis=0, mode="nearest")
    return np.asarray(gaussian_filter1d(down, sigma, axis=1, mode="nearest"))


class GraphSegmentation:
    """The sorted edges of one image."""

    def __init__(self, planes: Planes) -> None:
        """Of smoothed (H, W, C) float32, 0 to 255."""
        from cvcore.propose.segment_kernels import sorted_edges

        self._shape = planes.shape[:2]
        self._edges = sorted_edges(np.ascontiguousarray(planes))

    def labels(self, k: float, *, min_size: int) -> Labels:
        """(H, W) int32, each region by a number from 0; larger `k` gives larger regions.

        Regions of fewer than `min_size` pixels are joined to the neighbour across their lightest edge.
        """
        from cvcore.propose.segment_kernels import join_edges

        labels, _ = join_edges(*self._edges, int(np.prod(self._shape)), float(k), min_size)
        return labels.reshape(self._shape)
