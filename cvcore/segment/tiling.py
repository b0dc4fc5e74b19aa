"""Images larger than memory allows, tile by tile: blended without seams, and exact where that is possible."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cvcore.segment.base import Segmenter
from cvcore.segment.padding import mirrored
from cvcore.segment.tiles import Span, TileOptions, blend_weights, tile_spans

ReadTile = Callable[[slice, slice], npt.NDArray[np.uint8]]
"""Gives rows and columns of the image: (h, w, 3) RGB."""


@torch.inference_mode()
def segment_tiles(
    model: Segmenter, read: ReadTile, *, height: int, width: int, options: TileOptions
) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Class ids of an image of any size, from top to bottom.

    Besides what is read, memory holds the logits of one tile and, twice, of an overlap as wide as the image:
    8 bytes for each of its pixels and classes.

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
    rows, columns = _spans(model, height=height, width=width, options=options)
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


def count_tiles(model: Segmenter, *, height: int, width: int, options: TileOptions) -> int:
    """How many tiles `segment_tiles` looks at."""
    rows, columns = _spans(model, height=height, width=width, options=options)
    return len(rows) * len(columns)


def _spans(
    model: Segmenter, *, height: int, width: int, options: TileOptions
) -> tuple[list[Span], list[Span]]:
    stride = 1 if model.fixed_size else model.stride_px
    rows, columns = (
        tile_spans(size, tile_px=options.tile_px, overlap_px=options.overlap_px, stride_px=stride)
        for size in (height, width)
    )
    return rows, columns


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
