"""From canvases, or from images tile by tile, to rows of class maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor, nn

from cvcore.datasets.mask_files import encode_mask, mask_writer
from cvcore.errors import ImageError
from cvcore.image.fit import Fit
from cvcore.image.strips import Strips, open_strips
from cvcore.segment.base import Segmenter
from cvcore.segment.tiles import TileOptions
from cvcore.segment.tiling import count_tiles, segment_tiles
from jobs.schemas import segment_schema
from jobs.stages.decode import process_store
from jobs.stages.guard import Guard
from jobs.stages.rows import NON_FINITE, Failure, carried_columns, table_of
from jobs.stages.tasks import SegmentTask
from jobs.storage import StorageError, is_s3


@dataclass(frozen=True, slots=True)
class Segmented:
    """A map of class ids as palette PNG, and the pixels of each class."""

    png: bytes
    pixels: tuple[int, ...]


class SegmentHead:
    """Canvases to class maps; with tiles the images themselves are read, at their own scale, by strips."""

    def __init__(self, model: nn.Module, task: SegmentTask) -> None:
        assert isinstance(model, Segmenter), "the driver admits segmenters only"
        self.input_spec = model.input_spec
        self.model = model
        self._task = task
        self._tiles = None if task.tile_px is None else TileOptions(task.tile_px, task.overlap_px)

    def compute(self, images: Tensor, fits: Sequence[Fit]) -> Tensor | None:
        if self._tiles is not None:
            return None
        logits: Tensor = self.model(self.model.preprocess(images, fits))
        return logits

    def finish(self, raw: Tensor | None, fits: Sequence[Fit]) -> list[Any]:
        if raw is None:
            return [None] * len(fits)
        finite = self.model.finite(raw)
        maps = self.model.postprocess(raw, fits)
        return [
            self._segmented(each.cpu().numpy()) if ok else NON_FINITE
            for each, ok in zip(maps, finite, strict=True)
        ]

    def table(self, batch: pa.Table, found: Mapping[int, Any]) -> pa.Table:
        if self._tiles is not None:
            uris, etags = (batch.column(name).to_pylist() for name in ("uri", "etag"))
            found = {row: self._tiled(uris[row], etags[row], self._tiles) for row in found}
        schema = segment_schema()
        columns = carried_columns(batch, found, schema)
        rows = [
            each if isinstance(each := found.get(row), Segmented) else None for row in range(batch.num_rows)
        ]
        columns["classes"] = pa.array([r and self._areas(r) for r in rows], schema.field("classes").type)
        columns["map"] = pa.array([r and r.png for r in rows], pa.binary())
        return table_of(batch, columns, schema)

    @torch.inference_mode()
    def _tiled(self, uri: str, etag: str, tiles: TileOptions) -> Segmented | Failure:
        try:
            body = process_store(is_s3(uri), self._task.access).read(uri, etag=etag)
            strips = open_strips(body, limits=self._task.limits, name=uri)
            num_tiles = count_tiles(self.model, height=strips.height, width=strips.width, options=tiles)
            with Guard(self._task.bounds).on(None, num_steps=num_tiles):
                return self._by_strips(strips, tiles)
        except StorageError as error:
            if error.whole_store:
                raise
            return Failure(error.code, str(error))
        except ImageError as error:
            return Failure(error.code, str(error), "decode")

    def _by_strips(self, strips: Strips, tiles: TileOptions) -> Segmented:
        size = {"height": strips.height, "width": strips.width}
        writer = mask_writer(**size)
        pixels = np.zeros(len(self.model.labels), np.int64)
        for _, band in segment_tiles(self.model, strips.read, **size, options=tiles):
            writer.write(band)
            pixels += np.bincount(band.ravel(), minlength=len(pixels))
        return Segmented(writer.finish(), tuple(pixels.tolist()))

    def _segmented(self, ids: npt.NDArray[np.uint8]) -> Segmented:
        pixels = np.bincount(ids.ravel(), minlength=len(self.model.labels))
        return Segmented(encode_mask(ids), tuple(pixels.tolist()))

    def _areas(self, row: Segmented) -> list[dict[str, Any]]:
        return [
            {"label": label, "label_id": k, "pixels": count}
            for k, (label, count) in enumerate(zip(self.model.labels, row.pixels, strict=True))
            if count
        ]
