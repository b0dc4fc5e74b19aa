"""The pictures of a run's rows: its inputs as they were pinned, and frames of its videos."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cvcore.errors import VeedorError
from cvcore.image.limits import DecodeLimits
from jobs.report.frames import FramePictures
from jobs.report.pictures import MAX_SIDE_PX, decode_small
from jobs.report.run import Decoding, Run
from jobs.storage import open_store

ReadPicture = Callable[[str, str], bytes]
ReadFrame = Callable[[Mapping[str, Any], int], npt.NDArray[np.uint8]]

UNREADABLE = ("read", "decode")
"""Inputs that failed in these stages have no picture to show; reading them again would fail again."""


class PictureMissing(VeedorError):
    """A row has no picture that can be shown; the message is a sentence for the reader of a page."""


@dataclass(frozen=True, slots=True)
class RowPictures:
    """How pictures are made. Safe for several threads.

    Attributes:
        read: bytes of a location and its pinned version; None shows no pictures at all.
        read_frame: the frame of a row, at most so many pixels on either side; None shows none.
        limits: what is decoded; those of the job.
    """

    read: ReadPicture | None
    read_frame: ReadFrame | None
    limits: DecodeLimits

    def open(self, row: Mapping[str, Any], max_side_px: int = MAX_SIDE_PX) -> Image.Image:
        """The picture of a row, at most so many pixels on either side.

        Raises:
            PictureMissing: if there is none.
        """
        if row["status"] in UNREADABLE:
            raise PictureMissing("This input could not be read.")
        if not row.get("width") or not row.get("height"):
            raise PictureMissing("An image of unknown size.")
        if self.read is None:
            raise PictureMissing("This report was made without pictures.")
        is_frame = row.get("frame_index") is not None
        if is_frame and self.read_frame is None:
            raise PictureMissing("A frame of a video: its pixels are not kept.")
        try:
            if is_frame and self.read_frame:
                return Image.fromarray(self.read_frame(row, max_side_px))
            body = self.read(row["uri"], row.get("etag") or "")
            size = {"width": row["width"], "height": row["height"]}
            return decode_small(body, **size, limits=self.limits, max_side_px=max_side_px)
        except (VeedorError, OSError) as error:
            raise PictureMissing(f"The picture cannot be shown: {error}") from error


def run_pictures(
    run: Run,
    how: Decoding,
    *,
    read_image: Callable[[str], bytes] | None = None,
    frames: FramePictures | None = None,
) -> RowPictures:
    """Pictures of a run.

    Args:
        run: whose rows they are of.
        how: its inputs were decoded.
        read_image: bytes by location; by default they are read from the store of the job's source, and one
            that is another version by now is not shown.
        frames: of its videos.
    """
    read_frame = frames.small if frames else None
    if read_image is not None:
        return RowPictures(lambda uri, _etag: read_image(uri), read_frame, how.limits)
    store = open_store(run.record.source, how.access)
    return RowPictures(lambda uri, etag: store.read(uri, etag=etag or None), read_frame, how.limits)


def frame_pictures(run: Run, how: Decoding) -> FramePictures | None:
    """Frames of the run's videos; an import's rows are of texts, which have none."""
    if not run.record.num_videos or run.record.job == "import":
        return None
    return FramePictures(open_store(run.record.source, how.access), how.limits, stream=how.stream)
