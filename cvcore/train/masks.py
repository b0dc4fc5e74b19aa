"""Images with masks as canvases of one shape, and random views of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cvcore.datasets.mask_files import IGNORED, Mask
from cvcore.datasets.masks import MaskDataset, MaskLoader, MaskRecord
from cvcore.errors import ImageError, SpecError
from cvcore.image.decode import decode_to_canvas
from cvcore.image.fit import Fit
from cvcore.train.augment import AugmentOptions, augment_mask
from cvcore.train.batches import ALONE, Shard, steps_per_epoch
from cvcore.train.drawn_masks import draw_mask
from cvcore.train.kept import NO_LIMIT, read_all, take
from cvcore.types import InputSpec


@dataclass(frozen=True, slots=True)
class MaskSample:
    """One image as the model reads it, with its truth.

    Attributes:
        name: of the image.
        canvas: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8 class ids on the canvas; 255 beyond the image, and where nothing is judged.
        fit: where the image lies on the canvas.
        truth: class ids at the image's own size.
    """

    name: str
    canvas: npt.NDArray[np.uint8]
    mask: Mask
    fit: Fit
    truth: Mask


@dataclass(frozen=True, slots=True)
class MaskSamples:
    """A dataset that is ready to be learned from; `failures` counts, by why, the images that are not."""

    samples: Sequence[MaskSample]
    labels: tuple[str, ...]
    failures: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MaskBatch:
    """What one step learns from: canvases (B, H, W, 3) uint8, masks (B, H, W) uint8."""

    canvases: Tensor
    masks: Tensor


def load_mask_samples(
    dataset: MaskDataset,
    read_image: Callable[[str], bytes],
    loader: MaskLoader,
    labels: Sequence[str],
    spec: InputSpec,
    *,
    max_cached_bytes: int = NO_LIMIT,
) -> MaskSamples:
    """Read a dataset, fitted to `spec`'s canvas; what cannot be used is counted.

    Args:
        dataset: of masks.
        read_image: reads an image by its name.
        loader: of its masks.
        labels: of the model.
        spec: the canvas.
        max_cached_bytes: of samples that are kept; the others are read again whenever they are needed.

    Raises:
        SpecError: if its classes are not `labels`.
    """
    if dataset.labels != tuple(labels):
        raise SpecError(f"the dataset has the classes {dataset.labels}, the model {tuple(labels)}")
    found = read_all(
        [partial(_load, read_image, loader, spec, record) for record in dataset.images],
        lambda sample: sample.canvas.nbytes + sample.mask.nbytes + sample.truth.nbytes,
        max_bytes=max_cached_bytes,
    )
    return MaskSamples(found.kept, tuple(labels), dict(found.failures))


def _load(
    read_image: Callable[[str], bytes], loader: MaskLoader, spec: InputSpec, record: MaskRecord
) -> MaskSample:
    drawn = decode_to_canvas(read_image(record.name), spec, name=record.name)
    fit = drawn.fit
    truth = loader.load(record, height=fit.source_height, width=fit.source_width)
    if truth is None:
        raise ImageError("mask", f"{record.name}: its mask cannot be used")
    mask = draw_mask(truth, fit, spec, outside=IGNORED)
    return MaskSample(record.name, drawn.canvas, mask, fit, truth)


def mask_batches(
    samples: Sequence[MaskSample],
    *,
    epoch: int,
    seed: int,
    batch_size: int,
    options: AugmentOptions | None,
    shard: Shard = ALONE,
) -> Iterator[MaskBatch]:
    """Yield one epoch's batches for one worker, in an order and with views that (seed, epoch) decide."""
    order = np.random.default_rng([seed, epoch]).permutation(len(samples))
    stride = batch_size * shard.world_size
    for step in range(steps_per_epoch(len(samples), batch_size, shard.world_size)):
        first = step * stride + shard.rank * batch_size
        places = order[first : first + batch_size].tolist()
        views = [
            (sample.canvas, sample.mask)
            if options is None
            else augment_mask(
                sample.canvas, sample.mask, options, np.random.default_rng([seed, epoch, place])
            )
            for place, sample in zip(places, take(samples, places), strict=True)
        ]
        canvases, masks = (torch.from_numpy(np.stack([view[k] for view in views])) for k in (0, 1))
        yield MaskBatch(canvases, masks)
