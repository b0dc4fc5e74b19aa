"""Epochs of batches: the same seed gives the same batches, whatever else runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cvcore.detect.truth import Truth
from cvcore.ops.masks import decode_rle
from cvcore.train.augment import AugmentOptions, augment
from cvcore.train.kept import take
from cvcore.train.mosaic import NUM_TILES
from cvcore.train.samples import Sample
from cvcore.train.views import View

B = TypeVar("B")

STEPS_PER_SIZE = 10


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
        _joined_masks(views),
    )
    if any(view.proposals is None for view in views):
        return Batch(canvases, truth)
    return Batch(canvases, truth, tuple(view.proposals for view in views if view.proposals is not None))


def _joined_masks(views: Sequence[View]) -> Tensor | None:
    masks = [view.masks for view in views if view.masks is not None]
    return torch.cat(masks) if len(masks) == len(views) else None


def resized(batch: Batch, size: int) -> Batch:
    """The batch on square canvases of `size` pixels."""
    height, width = batch.canvases.shape[1:3]
    if (height, width) == (size, size):
        return batch
    planes = batch.canvases.permute(0, 3, 1, 2)
    planes = F.interpolate(planes, size=(size, size), mode="bilinear", antialias=True)
    scale = batch.truth.boxes.new_tensor([size / width, size / height]).repeat(2)
    masks = batch.truth.masks
    if masks is not None:
        masks = F.interpolate(masks[None], size=(size, size), mode="nearest-exact")[0]
    truth = Truth(batch.truth.boxes * scale, batch.truth.label_ids, batch.truth.image_index, masks)
    proposals = None if batch.proposals is None else tuple(boxes * scale for boxes in batch.proposals)
    return Batch(planes.permute(0, 2, 3, 1).contiguous(), truth, proposals)


def plain_view(sample: Sample) -> View:
    """The sample as it is."""
    masks = None
    if sample.masks is not None:
        height, width = sample.canvas.shape[:2]
        drawn = np.zeros((len(sample.masks), height, width), np.uint8)
        for mask, rle in zip(drawn, sample.masks, strict=True):
            mask[:] = decode_rle(rle, height=height, width=width)
        masks = torch.from_numpy(drawn)
    return View(sample.canvas, sample.boxes, sample.label_ids, sample.proposals, masks)


def sample_view(
    sample: Sample,
    samples: Sequence[Sample],
    index: int,
    *,
    epoch: int,
    seed: int,
    options: AugmentOptions | None,
) -> View:
    """The view of one of the samples that (seed, epoch, index) decide; without `options` it as it is."""
    view = plain_view(sample)
    if options is None:
        return view
    rng = np.random.default_rng([seed, epoch, index])
    others: list[View] = []
    if "mosaic" in options.steps:
        others = [plain_view(samples[k]) for k in rng.integers(len(samples), size=NUM_TILES - 1).tolist()]
    return augment(view, options, rng, others=others)


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
    sizes: Sequence[int] = (),
    shard: Shard = ALONE,
) -> Iterator[Batch]:
    """Yield one epoch's batches for one worker, in an order and with views that (seed, epoch) decide.

    `batch_size` counts one worker's images. With `options` None the samples are shown as they are. Of `sizes`
    another one is chosen every ten steps (YOLO9000, section 2, "Multi-Scale Training"), the same for all
    workers.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(samples))
    stride = batch_size * shard.world_size
    for step in range(steps_per_epoch(len(samples), batch_size, shard.world_size)):
        first = step * stride + shard.rank * batch_size
        places = order[first : first + batch_size].tolist()
        batch = collate(
            [
                sample_view(sample, samples, place, epoch=epoch, seed=seed, options=options)
                for place, sample in zip(places, take(samples, places), strict=True)
            ]
        )
        if sizes:
            turn = np.random.default_rng([seed, epoch, step // STEPS_PER_SIZE])
            batch = resized(batch, sizes[int(turn.integers(len(sizes)))])
        yield batch


def ahead(batches: Iterator[B]) -> Iterator[B]:
    """The same batches, each made by a thread while the one before is in use."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch
