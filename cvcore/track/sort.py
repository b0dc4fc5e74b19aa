"""SORT: a Kalman filter and the Hungarian method (Bewley et al. 2016, arXiv:1602.00763)."""

from __future__ import annotations

import numpy as np

from cvcore.track.association import NONE, associate, gains, overlaps, reaches_of
from cvcore.track.base import UNTRACKED, Floats, Ints
from cvcore.track.kalman import AreaMotion
from cvcore.track.options import SortOptions
from cvcore.track.tracks import BEGAN, LABEL, SEEN, Tracks


class Sort:
    """Tracks of one video; see `cvcore.track.base.Tracker`."""

    def __init__(self, options: SortOptions | None = None) -> None:
        self._options = options or SortOptions()
        self._min_iou = np.array(self._options.min_iou)
        self._motion = AreaMotion()
        # A track that is not believed yet and is missed begins anew: BEGAN tells since when it is seen.
        self._tracks = Tracks(self._motion)
        self._frame = 0

    def update(self, boxes: Floats, scores: Floats, label_ids: Ints) -> Ints:
        """Leave out what is below the least score, and follow the rest."""
        looked_at = (scores >= self._options.min_score).nonzero()[0]
        if len(looked_at) == len(scores):
            return self._follow(boxes, label_ids)
        ids = np.full(len(scores), UNTRACKED)
        ids[looked_at] = self._follow(boxes.take(looked_at, axis=0), label_ids.take(looked_at))
        return ids

    def _follow(self, boxes: Floats, label_ids: Ints) -> Ints:
        """Section 3.3 and 3.4: associate with predictions, begin tracks, end those not seen."""
        options, tracks = self._options, self._tracks
        self._frame += 1
        reaches = reaches_of(boxes)
        measured = self._motion.measure(reaches)
        tracks.filter.predict()
        gain = gains(overlaps(tracks.filter.reaches(), reaches), self._min_iou)
        if options.class_aware:
            gain *= tracks.table[LABEL][:, None] == label_ids
        found, owner = associate(gain)
        seen = found > NONE
        tracks.filter.correct(found, measured, seen=seen)
        missed = np.count_nonzero(seen) < len(seen)
        np.putmask(tracks.table[SEEN], seen, self._frame)
        if missed:
            np.putmask(tracks.table[BEGAN], ~seen, self._frame + 1)
        new = (owner == NONE).nonzero()[0]
        if len(new):
            owner.put(new, np.arange(len(tracks), len(tracks) + len(new)))
            tracks.begin(measured.take(new, axis=1), label_ids.take(new), self._frame)
        ids = tracks.ids(owner)
        waiting = (ids == NONE).nonzero()[0]
        if len(waiting):
            ids = self._believe(owner, waiting, ids)
        if missed:
            tracks.keep(tracks.table[SEEN] >= self._frame - options.max_age)
        return ids

    def _believe(self, owner: Ints, waiting: Ints, ids: Ints) -> Ints:
        """Believe the tracks of those of the detections `waiting` that were seen often enough in a row."""
        tracks = owner.take(waiting)
        if self._frame > self._options.min_hits:
            streak = self._frame + 1 - self._tracks.table[BEGAN].take(tracks)
            tracks = tracks.compress(streak >= self._options.min_hits)
        if not len(tracks):
            return ids
        self._tracks.believe(tracks)
        return self._tracks.ids(owner)
