"""Images larger than memory allows, tile by tile: blended without seams, and exact where that is possible."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cvcore.segment.base import Segmenter
from cvcore.segment.padding import mirrored

ReadTile = Callable[[slice, slice], npt.NDArray[np.uint8]]
"""Gives rows and columns of the image: (h, w, 3) RGB."""

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


@torch.inference_mode()
def segment_tiles(
    model: Segmenter, read: ReadTile, *, height: int, width: int, options: TileOptions
) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Class ids of an image of any size, from top to bottom.

    Besides what is read, memory holds the logits of one tile and of an overlap as wide as the image.

    Args:
        model: in evaluation mode; it sees tiles at the image's own scale.
        read: gives parts of the image.
        height, width: of the image, pixels.
        options: how it is cut.

    Yields:
        The first row of a band, and its (rows, width) class ids; bands follow each other without a gap.

    Raises:
        ValueError: for tiles that the model cannot be cut by.
    """
    cut = {
        "tile_px": options.tile_px,
        "overlap_px": options.overlap_px,
        "stride_px": 1 if model.fixed_size else model.stride_px,
    }
    rows, columns = (tile_spans(size, **cut) for size in (height, width))
    wx = [torch.from_numpy(blend_weights(columns, j, margin_px=model.margin_px)) for j in range(len(columns))]
    above: Tensor | None = None
    for i, row in enumerate(rows):
        wy = torch.from_numpy(blend_weights(rows, i, margin_px=model.margin_px))
        done = _final(rows, i)
        band = np.empty((done, width), np.uint8)
        below = torch.zeros((len(model.labels), len(row) - done, width))
        beside: Tensor | None = None
        for j, column in enumerate(columns):
            pixels = read(slice(row.start, row.stop), slice(column.start, column.stop))
            scores = _logits(model, pixels, options.tile_px) * (wy[:, None] * wx[j])
            if beside is not None:
                scores[:, :, : column.shared] += beside
            if above is not None:
                new = slice(column.start + column.shared, column.stop)
                scores[:, : row.shared, column.shared :] += above[:, :, new]
            kept = _final(columns, j)
            place = slice(column.start, column.start + kept)
            band[:, place] = scores[:, :done, :kept].argmax(dim=0).to(torch.uint8).numpy()
            below[:, :, place] = scores[:, done:, :kept]
            beside = scores[:, :, kept:].clone()
        above = below
        yield row.start, band


def segment_tiled(
    model: Segmenter, pixels: npt.NDArray[np.uint8], options: TileOptions
) -> npt.NDArray[np.uint8]:
    """Class ids, (H, W), of an image in memory, (H, W, 3) RGB."""
    height, width = pixels.shape[:2]
    bands = segment_tiles(model, lambda y, x: pixels[y, x], height=height, width=width, options=options)
    found = np.empty((height, width), np.uint8)
    for start, band in bands:
        found[start : start + len(band)] = band
    return found


def _final(spans: Sequence[Span], index: int) -> int:
    """How many first pixels of a tile no later tile shares."""
    return (spans[index + 1].start if index + 1 < len(spans) else spans[index].stop) - spans[index].start


def _logits(model: Segmenter, pixels: npt.NDArray[np.uint8], tile_px: int) -> Tensor:
    """(C, h, w) float32 on the CPU; a network of one size sees the tile mirrored up to it."""
    height, width = pixels.shape[:2]
    device = next(model.parameters()).device
    images = torch.from_numpy(np.ascontiguousarray(pixels)).to(device)[None]
    if model.fixed_size:
        planes = mirrored(
            images.permute(0, 3, 1, 2), top=0, bottom=tile_px - height, left=0, right=tile_px - width
        )
        images = planes.permute(0, 2, 3, 1)
    logits: Tensor = model(model.preprocess(images))
    return logits[0, :, :height, :width].float().cpu()
