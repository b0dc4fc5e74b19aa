"""ByteTrack: detections of low score keep tracks alive (Zhang et al. 2022, arXiv:2110.06864)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cvcore.track.association import Matches, associate, iou_matrix
from cvcore.track.base import UNTRACKED, Floats, IdCounter, Ints
from cvcore.track.kalman import VELOCITY, BoxFilter, HeightMotion
from cvcore.track.options import ByteTrackOptions

# Of a tracked and a lost track that overlap more, the one that was tracked for less time is dropped.
DUPLICATE_IOU = 0.85
_HEIGHT = 3


class ByteTrack:
    """Tracks of one video; see `cvcore.track.base.Tracker`."""

    def __init__(self, options: ByteTrackOptions | None = None) -> None:
        self._options = options or ByteTrackOptions()
        self._filter = BoxFilter(HeightMotion())
        self._counter = IdCounter()
        self._frame = 0
        # By track: its id once it is believed, its class, the frames when it began and was last seen, and
        # whether it was seen in the frame before (or lost).
        self._ids: Ints = np.zeros(0, np.int64)
        self._labels: Ints = np.zeros(0, np.int64)
        self._began: Ints = np.zeros(0, np.int64)
        self._seen: Ints = np.zeros(0, np.int64)
        self._tracked: npt.NDArray[np.bool_] = np.zeros(0, bool)

    def update(self, boxes: Floats, scores: Floats, label_ids: Ints) -> Ints:
        """Algorithm 1: high scores first, low ones for what is left, then what has been seen once."""
        options = self._options
        self._frame += 1
        self._filter.state[VELOCITY, ~self._tracked, _HEIGHT] = 0.0  # a lost box neither grows nor shrinks
        self._filter.predict()
        predicted = self._filter.boxes()
        believed = self._ids != UNTRACKED
        owner = np.full(len(scores), -1)  # the track of each detection

        def match(tracks: Ints, detections: Ints, least: float, *, fused: bool) -> Matches:
            similarity = iou_matrix(predicted[tracks], boxes[detections])
            if fused:
                similarity *= scores[detections]
            if options.class_aware:
                similarity[self._labels[tracks][:, None] != label_ids[detections]] = 0.0
            found = associate(similarity, least=least)
            owner[detections[found.columns]] = tracks[found.rows]
            return found

        high = (scores >= options.high_score).nonzero()[0]
        low = ((scores >= options.low_score) & (scores < options.high_score)).nonzero()[0]
        pool = believed.nonzero()[0]
        first = match(pool, high, options.min_iou_first, fused=options.fuse_score)
        left = pool[first.free_rows]
        if len(low):
            match(left[self._tracked[left]], low, options.min_iou_second, fused=False)
        high = high[first.free_columns]
        once = (~believed).nonzero()[0]
        if len(once):
            third = match(once, high, options.min_iou_unconfirmed, fused=options.fuse_score)
            high = high[third.free_columns]
        self._see(owner, boxes)
        begin = high[scores[high] >= options.new_track_score]
        owner[begin] = np.arange(len(self._ids), len(self._ids) + len(begin))
        self._begin(boxes[begin], label_ids[begin])
        ids = np.full(len(scores), UNTRACKED)
        owned = owner >= 0
        ids[owned] = self._ids[owner[owned]]
        self._end(once)
        return ids

    def _see(self, owner: Ints, boxes: Floats) -> None:
        """Correct the tracks that own a detection, and believe them."""
        detections = (owner >= 0).nonzero()[0]
        tracks = owner[detections]
        self._filter.update(tracks, boxes[detections])
        self._tracked[:] = False
        self._tracked[tracks] = True
        self._seen[tracks] = self._frame
        self._counter.give(self._ids, tracks)

    def _begin(self, boxes: Floats, label_ids: Ints) -> None:
        count = len(boxes)
        if not count:
            return
        self._filter.append(boxes)
        frames = np.full(count, self._frame)
        self._ids = np.concatenate([self._ids, np.full(count, UNTRACKED)])
        self._labels = np.concatenate([self._labels, label_ids])
        self._began = np.concatenate([self._began, frames])
        self._seen = np.concatenate([self._seen, frames])
        self._tracked = np.concatenate([self._tracked, np.ones(count, bool)])
        if self._frame == 1:  # tracks of the first frame are believed at once
            self._counter.give(self._ids, np.arange(len(self._ids) - count, len(self._ids)))

    def _end(self, once: Ints) -> None:
        """Drop tracks seen once and not again, those lost for too long, and doubles."""
        keep = self._frame - self._seen <= self._options.max_lost
        keep[once[~self._tracked[once]]] = False
        lost = (keep & ~self._tracked).nonzero()[0]
        if len(lost):
            doubles = self._doubles(lost)
            keep[doubles] = False
        if keep.all():
            return
        self._filter.keep(keep)
        self._ids, self._labels = self._ids[keep], self._labels[keep]
        self._began, self._seen, self._tracked = self._began[keep], self._seen[keep], self._tracked[keep]

    def _doubles(self, lost: Ints) -> Ints:
        """Of tracked and lost tracks that nearly cover each other, those that were followed for less time."""
        tracked = (self._tracked & (self._ids != UNTRACKED)).nonzero()[0]
        now = self._filter.boxes()
        overlap = iou_matrix(now[tracked], now[lost])
        if self._options.class_aware:
            overlap[self._labels[tracked][:, None] != self._labels[lost]] = 0.0
        ours, theirs = np.nonzero(overlap > DUPLICATE_IOU)
        ours, theirs = tracked[ours], lost[theirs]
        longer = (self._seen - self._began)[ours] > (self._seen - self._began)[theirs]
        return np.concatenate([theirs[longer], ours[~longer]])
