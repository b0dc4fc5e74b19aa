"""Identity F1 (Ristani et al. 2016, arXiv:1609.01775)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from cvcore.metrics.tracking_frames import AlignedFrames

MIN_IOU = 0.5


@dataclass(frozen=True, slots=True)
class IdentityCounts:
    """Boxes with the right identity, found ones without it, and true ones that are not given theirs."""

    idtp: int
    idfp: int
    idfn: int

    def __add__(self, other: IdentityCounts) -> IdentityCounts:
        return IdentityCounts(self.idtp + other.idtp, self.idfp + other.idfp, self.idfn + other.idfn)

    @property
    def idf1(self) -> float:
        return self.idtp / max(1.0, self.idtp + 0.5 * self.idfp + 0.5 * self.idfn)

    @property
    def idp(self) -> float:
        return self.idtp / max(1.0, self.idtp + self.idfp)

    @property
    def idr(self) -> float:
        return self.idtp / max(1.0, self.idtp + self.idfn)


def count_identity(frames: AlignedFrames, *, min_iou: float = MIN_IOU) -> IdentityCounts:
    """Assign each true track at most one found track, so that most boxes agree."""
    together = np.zeros((frames.num_true_tracks, frames.num_found_tracks), np.int64)
    num_true = num_found = 0
    for truth, found, overlap in zip(frames.truth, frames.found, frames.similarity, strict=True):
        rows, columns = np.nonzero(overlap >= min_iou)
        together[truth[rows], found[columns]] += 1  # a pair of ids is in a frame once
        num_true += len(truth)
        num_found += len(found)
    # A track that has no partner costs what a partner without a common box costs.
    rows, columns = linear_sum_assignment(together, maximize=True)
    idtp = int(together[rows, columns].sum())
    return IdentityCounts(idtp, num_found - idtp, num_true - idtp)
