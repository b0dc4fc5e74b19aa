"""The literal catalogue of trackers."""

from __future__ import annotations

from cvcore.track.base import Tracker
from cvcore.track.bytetrack import ByteTrack
from cvcore.track.options import ByteTrackOptions, SortOptions
from cvcore.track.sort import Sort

TRACKERS = {"bytetrack": ByteTrackOptions, "sort": SortOptions}


def make_tracker(options: SortOptions | ByteTrackOptions) -> Tracker:
    """A fresh tracker, for one video."""
    return Sort(options) if isinstance(options, SortOptions) else ByteTrack(options)
