"""Single frames of a run's videos, small, for the page."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from cvcore.errors import ImageError
from cvcore.image.limits import DecodeLimits
from cvcore.types import InputSpec
from cvcore.video.decode import decode_segment
from cvcore.video.scan import VideoScan, scan_video
from jobs.storage import Store


class FramePictures:
    """Decodes frames by seeking; a video's frames are listed once. Safe for several threads."""

    def __init__(self, store: Store, limits: DecodeLimits, *, stream: int | None = None) -> None:
        self._store = store
        self._limits = limits
        self._stream = stream
        self._scan = lru_cache(maxsize=16)(self._read_scan)

    def small(self, row: Mapping[str, Any], max_side_px: int) -> npt.NDArray[np.uint8]:
        """The frame of a result row, (H, W, 3) uint8 upright RGB, at most so many pixels on either side.

        Raises:
            ImageError: if it cannot be decoded.
            StorageError: if the video cannot be read, or is another version by now.
        """
        uri, etag, index = row["uri"], row["etag"] or None, row["frame_index"]
        scan = self._scan(uri, etag)
        if index >= len(scan):
            raise ImageError("changed", f"the video has {len(scan)} frames now, this is number {index}")
        scale = min(1.0, max_side_px / max(row["width"], row["height"]))
        spec = InputSpec(
            max(1, round(row["height"] * scale)), max(1, round(row["width"] * scale)), fit="stretch"
        )
        with self._store.open(uri, etag=etag) as file:
            (frame,) = decode_segment(
                file,
                stream=scan.stream,
                frame_indices=[index],
                pts=[int(scan.pts[index])],
                spec=spec,
                limits=self._limits,
                name=uri,
            )
        if frame.canvas is None:
            raise frame.error or ImageError("corrupt", "the frame cannot be decoded")
        return frame.canvas

    def _read_scan(self, uri: str, etag: str | None) -> VideoScan:
        with self._store.open(uri, etag=etag) as file:
            return scan_video(file, name=uri, stream=self._stream, limits=self._limits)
