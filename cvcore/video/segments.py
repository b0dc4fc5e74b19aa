"""Cut a video into segments that are decoded apart from each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from cvcore.video.scan import VideoScan

# With sparse sampling it is decoding, not the frames kept, that takes the time: a segment also ends before
# the group of pictures that would have it decode through more frames than these.
MAX_DECODED_FRAMES = 3000


@dataclass(frozen=True)
class Segment:
    """Sampled frames of one video that are decoded in one go.

    Attributes:
        frame_indices: (N,) int32, which frames of the stream, ascending.
        pts: (N,) int64, their times.
    """

    frame_indices: npt.NDArray[np.int32]
    pts: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.pts.shape[0])


def cut_segments(scan: VideoScan, indices: npt.NDArray[np.int64], *, max_frames: int) -> list[Segment]:
    """Cut sampled frames into disjoint segments that cover all of them, in order.

    A segment has at most `max_frames` sampled frames. It is made of whole groups of pictures (from a keyframe
    to the frame before the next one), through at most `MAX_DECODED_FRAMES` frames if groups are shorter than
    that. Only a group with more sampled frames than `max_frames` is cut inside: into k segments, each decoded
    from the group's keyframe on, which makes (k + 1) / 2 times the decoding of that group.

    Args:
        indices: (N,) int64 frame indices, strictly ascending.

    Raises:
        ValueError: for indices that are not ascending or not in the video, or `max_frames` below 1.
    """
    if max_frames < 1:
        raise ValueError(f"max_frames must be at least 1, got {max_frames}")
    if len(indices) and (indices[0] < 0 or indices[-1] >= len(scan) or np.any(np.diff(indices) <= 0)):
        raise ValueError(f"frame indices must ascend within 0 to {len(scan) - 1}")
    return [
        Segment(indices[start:stop].astype(np.int32), scan.pts[indices[start:stop]])
        for start, stop in _cuts(scan, indices, max_frames)
    ]


def _cuts(scan: VideoScan, indices: npt.NDArray[np.int64], max_frames: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of each segment within `indices`."""
    start, entry = 0, 0  # the open segment's first sample, and the frame where its decoding starts
    for first, stop, keyframe in _groups(scan, indices):
        if first == start:
            entry = keyframe
        last = int(indices[stop - 1])
        too_many = stop - start > max_frames
        if first > start and (too_many or last - entry >= MAX_DECODED_FRAMES):
            yield start, first
            start, entry = first, keyframe
        while stop - start > max_frames:
            yield start, start + max_frames
            start += max_frames
    if start < len(indices):
        yield start, len(indices)


def _groups(scan: VideoScan, indices: npt.NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """(first sample, behind its last, keyframe) of each group of pictures that has samples."""
    keyframes = np.flatnonzero(scan.keyframes)
    group = np.searchsorted(keyframes, indices, side="right") - 1
    bounds = [0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(indices)]
    for first, stop in pairwise(bounds):
        if first < stop:
            # Frames before the first keyframe are decoded from the stream's start.
            yield first, stop, int(keyframes[group[first]]) if group[first] >= 0 else 0
