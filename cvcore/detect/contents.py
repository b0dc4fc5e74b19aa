"""Images of several sizes in one batch, each run without padding.

Padding one image to another's size would let a detection depend on which images happen to share a batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from cvcore.image.fit import Fit


def crop_contents(images: Tensor, fits: Sequence[Fit] | None) -> list[Tensor]:
    """What was drawn on each canvas: (3, content height, content width) views of (B, 3, H, W).

    Without `fits` each image fills its canvas.
    """
    if fits is None:
        return list(images)
    return [
        image[:, fit.top : fit.top + fit.content_height, fit.left : fit.left + fit.content_width]
        for image, fit in zip(images, fits, strict=True)
    ]


def same_size_batches(images: Sequence[Tensor]) -> Iterator[tuple[list[int], Tensor]]:
    """Yield indices of images of one size, and those images as (b, 3, h, w), until all have come.

    Channels come last in memory, which convolutions on a CPU are quickest with.
    """
    by_size: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        by_size[tuple(image.shape)].append(index)
    for indices in by_size.values():
        batch = torch.stack([images[i] for i in indices])
        yield indices, batch.contiguous(memory_format=torch.channels_last)
