"""Where tiles lie, and how they are blended; drivers import this module, so it does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_LARGEST_DROP = 3 / 8


@dataclass(frozen=True, slots=True)
class TileOptions:
    """How an image is cut.

    Attributes:
        tile_px: side of a tile.
        overlap_px: what tiles beside each other share, at most half a tile. From twice the network's reach
            (`Segmenter.margin_px`) on, the result is that of the whole image.
    """

    tile_px: int = 512
    overlap_px: int = 64

    def __post_init__(self) -> None:
        if self.tile_px < 1:
            raise ValueError(f"tile must be at least 1 px, got {self.tile_px}")
        if not 0 <= 2 * self.overlap_px <= self.tile_px:
            raise ValueError(
                f"overlap must be 0 to half of the tile's {self.tile_px} px, got {self.overlap_px}"
            )


@dataclass(frozen=True, slots=True)
class Span:
    """Where tiles lie along one axis, pixels.

    Attributes:
        start, stop: of the tile.
        shared: how many of its first pixels the tile before has too.
    """

    start: int
    stop: int
    shared: int

    def __len__(self) -> int:
        return self.stop - self.start


def tile_spans(size_px: int, *, tile_px: int, overlap_px: int, stride_px: int = 1) -> list[Span]:
    """Cut an axis of an image: every tile begins at a multiple of `stride_px`, and none is shared by three.

    The overlap grows where the stride asks for it; the last tile ends with the image, and may be small.

    Raises:
        ValueError: for a tile that is too small for its overlap and stride.
    """
    step = (tile_px - overlap_px) // stride_px * stride_px
    if step < 1 or (2 * (tile_px - step) > tile_px and size_px > tile_px):
        raise ValueError(
            f"tiles of {tile_px} px that share {overlap_px} px cannot begin at multiples of {stride_px} px: "
            f"take {2 * (overlap_px + stride_px)} px or more"
        )
    spans = [Span(0, min(tile_px, size_px), 0)]
    while spans[-1].stop < size_px:
        start = spans[-1].start + step
        spans.append(Span(start, min(start + tile_px, size_px), spans[-1].stop - start))
    return spans


def blend_weights(spans: Sequence[Span], index: int, *, margin_px: int) -> npt.NDArray[np.float32]:
    """The weight of each pixel of a tile along one axis; those of all tiles add up to 1.

    In an overlap the weight falls linearly from one tile to the other. Pixels within `margin_px` of a tile's
    cut edge weigh nothing, as far as the overlap allows: there the network misses what is beyond.
    """
    span = spans[index]
    weights = np.ones(len(span), np.float32)
    if span.shared:
        weights[: span.shared] = _rise(span.shared, margin_px)
    if index + 1 < len(spans):
        shared = spans[index + 1].shared
        if shared:
            weights[-shared:] = 1 - _rise(shared, margin_px)
    return weights


def _rise(length: int, margin_px: int) -> npt.NDArray[np.float32]:
    largest = int(length * _LARGEST_DROP)
    drop = min(margin_px, largest) if margin_px else largest
    if margin_px and 2 * margin_px <= length:
        drop = min(margin_px, (length - 1) // 2)
    rise = (np.arange(length) - drop + 0.5) / (length - 2 * drop)
    return np.clip(rise, 0, 1).astype(np.float32)
