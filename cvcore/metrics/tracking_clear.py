"""CLEAR MOT (Bernardin & Stiefelhagen 2008, doi:10.1155/2008/246309)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from scipy.optimize import linear_sum_assignment

from cvcore.metrics.tracking_frames import AlignedFrames

MIN_IOU = 0.5
# What keeps a pair of the frame before together before any other is made.
_CONTINUES = 1000.0
_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class ClearCounts:
    """What is counted; sequences add up.

    `similarity` is the sum of the IoU of all matches.
    """

    tp: int
    fp: int
    fn: int
    num_switches: int
    num_fragments: int
    mostly_tracked: int
    partly_tracked: int
    mostly_lost: int
    similarity: float

    def __add__(self, other: ClearCounts) -> ClearCounts:
        return ClearCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def mota(self) -> float:
        """1 - (missed + false + switches) / true boxes, of which TrackEval counts one at least."""
        return (self.tp - self.fp - self.num_switches) / max(1.0, self.tp + self.fn)

    @property
    def motp(self) -> float:
        """Mean IoU of the matches."""
        return self.similarity / max(1.0, self.tp)


def count_clear(frames: AlignedFrames, *, min_iou: float = MIN_IOU) -> ClearCounts:
    """Match frame by frame: pairs of the frame before stay together while they overlap enough."""
    tp = fp = fn = num_switches = 0
    similarity = 0.0
    present = np.zeros(frames.num_true_tracks)
    matched = np.zeros(frames.num_true_tracks)
    runs = np.zeros(frames.num_true_tracks)
    last_ever = np.full(frames.num_true_tracks, -1)
    last_frame = np.full(frames.num_true_tracks, -1)
    for truth, found, overlap in zip(frames.truth, frames.found, frames.similarity, strict=True):
        present[truth] += 1
        if not len(truth) or not len(found):  # a frame without one side parts no pair, as TrackEval has it
            fn += len(truth)
            fp += len(found)
            continue
        continues = last_frame[truth][:, None] == found[None]
        score = _CONTINUES * continues + overlap
        score[overlap < min_iou - _EPSILON] = 0
        rows, columns = linear_sum_assignment(score, maximize=True)
        real = score[rows, columns] > _EPSILON
        rows, columns = rows[real], columns[real]
        true_ids, found_ids = truth[rows], found[columns]
        before = last_ever[true_ids]
        num_switches += int(((before >= 0) & (before != found_ids)).sum())
        matched[true_ids] += 1
        was_unmatched = last_frame < 0
        last_ever[true_ids] = found_ids
        last_frame[:] = -1
        last_frame[true_ids] = found_ids
        runs += was_unmatched & (last_frame >= 0)
        tp += len(rows)
        fn += len(truth) - len(rows)
        fp += len(found) - len(rows)
        similarity += float(overlap[rows, columns].sum())
    share = matched[present > 0] / present[present > 0]
    mostly = int((share > 0.8).sum())
    partly = int((share >= 0.2).sum()) - mostly
    return ClearCounts(
        tp=tp,
        fp=fp,
        fn=fn,
        num_switches=num_switches,
        num_fragments=int(np.maximum(runs - 1, 0).sum()),
        mostly_tracked=mostly,
        partly_tracked=partly,
        mostly_lost=frames.num_true_tracks - mostly - partly,
        similarity=similarity,
    )
