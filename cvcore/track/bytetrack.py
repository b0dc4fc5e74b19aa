"""ByteTrack: detections of low score keep tracks alive (Zhang et al. 2022, arXiv:2110.06864)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cvcore.track.association import NONE, associate, gains, overlaps, reaches_of
from cvcore.track.base import Floats, Ints
from cvcore.track.kalman import VELOCITY, HeightMotion
from cvcore.track.options import ByteTrackOptions
from cvcore.track.tracks import BEGAN, ID, LABEL, SEEN, Tracks

# A lost track whose prediction overlaps the detection that continues another one by more is the same object:
# the one of them that was followed for less time is dropped. (The authors' code compares corrected boxes,
# which takes a second matrix of overlaps.)
_DUPLICATE_IOU = np.array(0.85)
_HEIGHT = 3
# What the first association gains weighs more than all that the others can.
_FIRST = 1e8

Bools = npt.NDArray[np.bool_]


class ByteTrack:
    """Tracks of one video; see `cvcore.track.base.Tracker`.

    Algorithm 1 associates three times: believed tracks with high scores; those left that were seen in the
    frame before with low scores; tracks seen once with the high scores that are left. The second and the
    third have no track and no detection in common. Where the gains of the first weigh far more than theirs,
    one assignment finds all three: it gives up nothing of the first, and then takes the most of the others.
    """

    def __init__(self, options: ByteTrackOptions | None = None) -> None:
        self._options = options or ByteTrackOptions()
        self._motion = HeightMotion()
        self._tracks = Tracks(self._motion)
        self._frame = 0
        chosen = self._options
        self._new_score = np.array(chosen.new_track_score)
        self._scores = np.array([chosen.low_score, chosen.high_score])
        # Rows: tracks that are followed, seen once, and (last, as -1) lost; columns: scores that are not
        # looked at, low and high.
        least = [
            [1.0, chosen.min_iou_second, chosen.min_iou_first],
            [1.0, 1.0, chosen.min_iou_unconfirmed],
            [1.0, 1.0, chosen.min_iou_first],
        ]
        weight = [[0.0, 1.0, _FIRST], [0.0, 0.0, 1.0], [0.0, 0.0, _FIRST]]
        self._rules = np.array([least, weight])

    def update(self, boxes: Floats, scores: Floats, label_ids: Ints) -> Ints:
        """Associate, believe what is seen for the second time, begin tracks and end others."""
        tracks = self._tracks
        self._frame += 1
        reaches = reaches_of(boxes)
        measured = self._motion.measure(reaches)
        followed = tracks.table[SEEN] == self._frame - 1
        believed = tracks.table[ID] > NONE
        tracks.filter.state[VELOCITY, _HEIGHT] *= followed  # a lost box neither grows nor shrinks
        tracks.filter.predict()
        similarity = overlaps(tracks.filter.reaches(), reaches)
        kind = followed.view(np.int8) - believed.view(np.int8)  # a row of the rules
        found, owner = associate(self._gain(similarity, kind, scores, label_ids))
        seen = found > NONE
        tracks.filter.correct(found, measured, seen=seen)
        np.putmask(tracks.table[SEEN], seen, self._frame)
        if np.count_nonzero(believed) < len(believed):
            self._believe_again(owner, believed)
        keep = self._keep(seen, believed, similarity, owner)
        free = owner == NONE
        ids = self._ids(owner, free)
        new = (free & (scores >= self._new_score)).nonzero()[0]
        if len(new):
            tracks.begin(measured.take(new, axis=1), label_ids.take(new), self._frame)
            keep = np.concatenate((keep, np.ones(len(new), bool)))
            if self._frame == 1:  # tracks of the first frame are believed at once
                tracks.believe(np.arange(len(new)))
                ids.put(new, tracks.table[ID])
        tracks.keep(keep)
        return ids

    def _ids(self, owner: Ints, free: Bools) -> Ints:
        """Of detections, (N,), by their tracks; -1 for those that are free."""
        if not len(self._tracks):
            return owner  # without tracks, all are -1
        ids = self._tracks.ids(owner)
        np.putmask(ids, free, NONE)
        return ids

    def _gain(
        self, similarity: Floats, kind: npt.NDArray[np.int8], scores: Floats, label_ids: Ints
    ) -> Floats:
        """What each pair gains, (T, N); see the class."""
        level = self._scores.searchsorted(scores, "right")
        if self._options.fuse_score:
            similarity = similarity * np.where(level == 2, scores, 1.0)
        least, weight = self._rules.take(kind, axis=1).take(level, axis=2)
        gain = gains(similarity, least)
        gain *= weight
        if self._options.class_aware:
            gain *= self._tracks.table[LABEL][:, None] == label_ids
        return gain

    def _believe_again(self, owner: Ints, believed: Bools) -> None:
        """Believe tracks that are seen for the second time, in the order of their detections."""
        owned = owner.compress(owner > NONE)
        self._tracks.believe(owned.compress(~believed.take(owned)))

    def _keep(self, seen: Bools, believed: Bools, similarity: Floats, owner: Ints) -> Bools:
        """Which tracks stay: not those seen once and not again, those lost for too long, and doubles."""
        if np.count_nonzero(seen) == len(seen):
            return seen
        keep: Bools = self._tracks.table[SEEN] >= self._frame - self._options.max_lost
        if np.count_nonzero(believed) < len(believed):
            keep &= seen | believed
        lost = (keep > seen).nonzero()[0]
        alike = similarity.take(lost, axis=0) > _DUPLICATE_IOU
        if np.count_nonzero(alike):
            self._drop_doubles(keep, lost, alike, owner)
        return keep

    def _drop_doubles(self, keep: Bools, lost: Ints, alike: Bools, owner: Ints) -> None:
        """Change `keep` where a lost track and one that is seen are the same.

        Args:
            lost: (L,) tracks.
            alike: (L, N) whether their predictions nearly are the detections.
        """
        rows, columns = alike.nonzero()
        table = self._tracks.table
        theirs, ours = lost.take(rows), owner.take(columns)
        real = ours >= 0
        if self._options.class_aware:
            real &= table[LABEL].take(theirs) == table[LABEL].take(ours)
        theirs, ours = theirs.compress(real), ours.compress(real)
        followed_for = table[SEEN] - table[BEGAN]
        longer = followed_for.take(ours) > followed_for.take(theirs)
        keep[theirs.compress(longer)] = False
        keep[ours.compress(~longer)] = False
