"""The weight map of U-Net's loss (Ronneberger et al. 2015, equation 2)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

_REACH_SIGMAS = 6
"""Beyond it a border's weight is below 1e-7 of its greatest."""


def border_weights(masks: Tensor, *, ignored: int, weight: float, sigma_px: float) -> Tensor:
    """w(x) = w_c(x) + w_0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2)), for each mask of a batch.

    w_c balances the classes of the batch: each of those that are there has the same share, and their mean is
    1. d1 and d2 are the distances to the nearest and the second nearest object, which are the connected
    pixels of one class other than 0; the second term is there between objects only, on class 0.

    Args:
        masks: (B, H, W) class ids, integers.
        ignored: pixels of this value weigh nothing, and are of no object.
        weight: w_0, 10 in the paper.
        sigma_px: 5 in the paper.

    Returns:
        (B, H, W) float32, on the masks' device.
    """
    arrays = masks.cpu().numpy()
    balance = _class_balance(arrays, ignored)
    found = [
        balance[np.where(mask == ignored, -1, mask)]
        + weight * _closeness(mask, ignored, sigma_px) * (mask == 0)
        for mask in arrays
    ]
    return torch.from_numpy(np.stack(found).astype(np.float32)).to(masks.device)


def _class_balance(masks: npt.NDArray[np.integer], ignored: int) -> npt.NDArray[np.float64]:
    """A weight for each class id, and last the 0 of pixels that are not judged."""
    judged = masks[masks != ignored]
    counts = np.bincount(judged.ravel()) if judged.size else np.zeros(1, np.int64)
    present = counts > 0
    weights = np.zeros(len(counts) + 1)
    weights[:-1][present] = judged.size / (present.sum() * counts[present])
    return weights


def _closeness(mask: npt.NDArray[np.integer], ignored: int, sigma_px: float) -> npt.NDArray[np.float64]:
    objects = _objects(mask, ignored)
    nearest = np.full((2, *mask.shape), np.inf)
    reach = math.ceil(_REACH_SIGMAS * sigma_px)
    for number, place in enumerate(ndimage.find_objects(objects), start=1):
        rows, columns = (slice(max(0, s.start - reach), s.stop + reach) for s in place)
        distance = ndimage.distance_transform_edt(objects[rows, columns] != number)
        first, second = nearest[0, rows, columns], nearest[1, rows, columns]
        second[...] = np.minimum(second, np.maximum(first, distance))
        first[...] = np.minimum(first, distance)
    closeness: npt.NDArray[np.float64] = np.exp(-(nearest.sum(axis=0) ** 2) / (2 * sigma_px**2))
    return closeness


def _objects(mask: npt.NDArray[np.integer], ignored: int) -> npt.NDArray[np.int64]:
    """Connected pixels of one class, numbered from 1; 0 is the background."""
    objects = np.zeros(mask.shape, np.int64)
    for label in np.unique(mask):
        if label not in (0, ignored):
            found, _ = ndimage.label(mask == label)
            objects = np.where(found > 0, found + objects.max(), objects)
    return objects
