"""Epochs of batches: the same seed gives the same batches, whatever else runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cvcore.detect.truth import Truth
from cvcore.train.augment import AugmentOptions, View, augment
from cvcore.train.samples import Sample


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from.

    Attributes:
        canvases: (B, H, W, 3) uint8.
        truth: in canvas pixels.
        proposals: for each image (P, 4) xyxy canvas pixels, where the dataset has them.
    """

    canvases: Tensor
    truth: Truth
    proposals: tuple[Tensor, ...] | None = None


@dataclass(frozen=True, slots=True)
class Shard:
    """The share of one of `world_size` equal workers."""

    rank: int = 0
    world_size: int = 1


ALONE = Shard()


def collate(views: Sequence[View]) -> Batch:
    """Stack views into a batch."""
    canvases = torch.from_numpy(np.stack([view.canvas for view in views]))
    counts = torch.tensor([len(view.boxes) for view in views])
    truth = Truth(
        torch.cat([view.boxes for view in views]),
        torch.cat([view.label_ids for view in views]),
        torch.repeat_interleave(torch.arange(len(views)), counts),
    )
    return Batch(canvases, truth)


def steps_per_epoch(num_samples: int, batch_size: int, world_size: int = 1) -> int:
    """Steps each worker makes in an epoch; short last batches are left out, but for a lone one."""
    return max(1, num_samples // (batch_size * world_size))


def epoch_batches(
    samples: Sequence[Sample],
    *,
    epoch: int,
    seed: int,
    batch_size: int,
    options: AugmentOptions | None,
    shard: Shard = ALONE,
) -> Iterator[Batch]:
    """Yield one epoch's batches for one worker, in an order and with views that (seed, epoch) decide.

    `batch_size` counts one worker's images. With `options` None the samples are shown as they are.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(samples))
    stride = batch_size * shard.world_size
    for step in range(steps_per_epoch(len(samples), batch_size, shard.world_size)):
        first = step * stride + shard.rank * batch_size
        views = []
        for index in order[first : first + batch_size].tolist():
            sample = samples[index]
            view = View(sample.canvas, sample.boxes, sample.label_ids)
            if options is not None:
                view = augment(view, options, np.random.default_rng([seed, epoch, index]))
            views.append(view)
        yield collate(views)


def ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, each made by a thread while the one before is in use."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch
