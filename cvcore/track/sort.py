"""SORT: a Kalman filter and the Hungarian method (Bewley et al. 2016, arXiv:1602.00763)."""

from __future__ import annotations

import numpy as np

from cvcore.track.association import associate, iou_matrix
from cvcore.track.base import UNTRACKED, Floats, IdCounter, Ints
from cvcore.track.kalman import AreaMotion, BoxFilter
from cvcore.track.options import SortOptions


class Sort:
    """Tracks of one video; see `cvcore.track.base.Tracker`."""

    def __init__(self, options: SortOptions | None = None) -> None:
        self._options = options or SortOptions()
        self._filter = BoxFilter(AreaMotion())
        self._counter = IdCounter()
        self._num_frames = 0
        # By track: its id once it is believed, its class, frames since it was seen, frames seen in a row.
        self._ids: Ints = np.zeros(0, np.int64)
        self._labels: Ints = np.zeros(0, np.int64)
        self._unseen: Ints = np.zeros(0, np.int64)
        self._streak: Ints = np.zeros(0, np.int64)

    def update(self, boxes: Floats, scores: Floats, label_ids: Ints) -> Ints:
        """Section 3.3 and 3.4: associate with predictions, begin tracks, end those not seen."""
        options = self._options
        self._num_frames += 1
        looked_at = (scores >= options.min_score).nonzero()[0]
        boxes, label_ids = boxes[looked_at], label_ids[looked_at]
        self._predict()
        similarity = iou_matrix(self._filter.boxes(), boxes)
        if options.class_aware:
            similarity[self._labels[:, None] != label_ids] = 0.0
        found = associate(similarity, least=options.min_iou)
        self._filter.update(found.rows, boxes[found.columns])
        self._unseen[found.rows] = 0
        self._streak[found.rows] += 1
        first_new = len(self._ids)
        self._begin(boxes[found.free_columns], label_ids[found.free_columns])
        ids = np.full(len(scores), UNTRACKED)
        tracks = np.concatenate([found.rows, np.arange(first_new, len(self._ids))])
        detections = looked_at[np.concatenate([found.columns, found.free_columns])]
        believed = (self._ids[tracks] != UNTRACKED) | (self._streak[tracks] >= options.min_hits)
        believed |= self._num_frames <= options.min_hits
        order = np.argsort(detections[believed])
        self._counter.give(self._ids, tracks[believed][order])
        ids[detections[believed]] = self._ids[tracks[believed]]
        self._keep(self._unseen <= options.max_age)
        return ids

    def _predict(self) -> None:
        self._filter.predict()
        self._streak[self._unseen > 0] = 0
        self._unseen += 1
        finite = np.isfinite(self._filter.state[0]).all(axis=1)
        if not finite.all():
            self._keep(finite)

    def _begin(self, boxes: Floats, label_ids: Ints) -> None:
        if not len(boxes):
            return
        count = len(boxes)
        self._filter.append(boxes)
        self._ids = np.concatenate([self._ids, np.full(count, UNTRACKED)])
        self._labels = np.concatenate([self._labels, label_ids])
        self._unseen = np.concatenate([self._unseen, np.zeros(count, np.int64)])
        self._streak = np.concatenate([self._streak, np.ones(count, np.int64)])

    def _keep(self, mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        if mask.all():
            return
        self._filter.keep(mask)
        self._ids, self._labels = self._ids[mask], self._labels[mask]
        self._unseen, self._streak = self._unseen[mask], self._streak[mask]
