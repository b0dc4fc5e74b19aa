"""Pictures of a run on demand: small ones for the grid, a large one, and masks."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cvcore.errors import SpecError
from jobs.report.cards import mask_pictures
from jobs.report.pictures import MAX_SIDE_PX, encode_jpeg
from jobs.report.row_pictures import RowPictures
from jobs.storage import Store
from jobs.view.index import ViewIndex

LARGE_SIDE_PX = 1600
LARGE_QUALITY = 88
SMALL_BYTES = 60_000
NUM_KEPT = 1024
NUM_DECODERS = 4
MASK_BYTES = 4 * 2**20


class ViewPictures:
    """Decodes a few at a time and keeps the last small ones. Safe for several threads.

    Args:
        index: of the run.
        pictures: of its rows.
        parts: of the run, which hold masks.
        store: that holds them.
    """

    def __init__(self, index: ViewIndex, pictures: RowPictures, parts: Sequence[str], store: Store) -> None:
        self._index, self._pictures = index, pictures
        self._parts, self._store = parts, store
        self._decoders = threading.BoundedSemaphore(NUM_DECODERS)
        self.small = lru_cache(maxsize=NUM_KEPT)(self._small)

    def _small(self, ordinal: int) -> bytes:
        """A JPEG for the grid.

        Raises:
            PictureMissing: if there is none.
            SpecError: if the run has no such image.
        """
        image = self._image(ordinal)
        with self._decoders:
            return encode_jpeg(self._pictures.open(image, MAX_SIDE_PX), max_bytes=SMALL_BYTES)

    def large(self, ordinal: int) -> bytes:
        """A JPEG to fill a screen; raises as `small` does."""
        image = self._image(ordinal)
        with self._decoders:
            buffer = io.BytesIO()
            self._pictures.open(image, LARGE_SIDE_PX).save(buffer, "JPEG", quality=LARGE_QUALITY)
        return buffer.getvalue()

    def masks(self, ordinal: int) -> list[Any]:
        """Masks of an image's detections in their order: each its box and data URI, or None.

        Raises:
            SpecError: if the run has no such image.
        """
        image = self._image(ordinal)
        detections = self._read_masks(image)
        if not image["width"] or not image["height"]:
            return [None] * len(detections)
        return mask_pictures(image, detections, max_bytes=MASK_BYTES)

    def _read_masks(self, image: dict[str, Any]) -> list[dict[str, Any]]:
        """Detections of one row with nothing but label ids and masks; of its file only its rows' are read."""
        with self._store.open(self._parts[image["part"]]) as opened:
            file = pq.ParquetFile(pa.PythonFile(opened, mode="r"))
            paths = [file.schema.column(k).path for k in range(len(file.schema))]
            wanted = [path for path in paths if path.startswith("detections.") and _is_of_masks(path)]
            start = 0
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if start <= image["row"] < start + rows:
                    table = file.read_row_group(group, columns=wanted).slice(image["row"] - start, 1)
                    found: list[dict[str, Any]] = table.column("detections")[0].as_py() or []
                    return found
                start += rows
        return []

    def _image(self, ordinal: int) -> dict[str, Any]:
        image = self._index.images([ordinal]).get(ordinal)
        if image is None:
            raise SpecError(f"the run has no image {ordinal}")
        return image


def _is_of_masks(path: str) -> bool:
    return bool({"mask", "label_id"} & set(path.split(".")))
