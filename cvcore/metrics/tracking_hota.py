"""HOTA (Luiten et al. 2021, arXiv:2009.07736)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from cvcore.metrics.tracking_frames import AlignedFrames

Floats = npt.NDArray[np.float64]

ALPHAS = np.arange(0.05, 0.99, 0.05)
_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class HotaSums:
    """At each of the thresholds `ALPHAS`, (19,): counts, and sums over the matches.

    Attributes:
        tp, fp, fn: boxes.
        ass, ass_re, ass_pr: sums over matches of the association's Jaccard index, recall and precision.
        loc: sum of the IoU of the matches.
    """

    tp: Floats
    fp: Floats
    fn: Floats
    ass: Floats
    ass_re_sum: Floats
    ass_pr_sum: Floats
    loc: Floats

    def __add__(self, other: HotaSums) -> HotaSums:
        names = ("tp", "fp", "fn", "ass", "ass_re_sum", "ass_pr_sum", "loc")
        return HotaSums(*(getattr(self, name) + getattr(other, name) for name in names))

    @property
    def deta(self) -> Floats:
        """Detection accuracy: TP / (TP + FN + FP) (equation 8)."""
        return self.tp / np.maximum(1, self.tp + self.fn + self.fp)

    @property
    def det_re(self) -> Floats:
        return self.tp / np.maximum(1, self.tp + self.fn)

    @property
    def det_pr(self) -> Floats:
        return self.tp / np.maximum(1, self.tp + self.fp)

    @property
    def assa(self) -> Floats:
        """Association accuracy: the mean over matches of TPA / (TPA + FNA + FPA) (equation 9)."""
        return self.ass / np.maximum(1, self.tp)

    @property
    def ass_re(self) -> Floats:
        return self.ass_re_sum / np.maximum(1, self.tp)

    @property
    def ass_pr(self) -> Floats:
        return self.ass_pr_sum / np.maximum(1, self.tp)

    @property
    def loca(self) -> Floats:
        """Mean IoU of the matches; 1 where there are none (equation 10)."""
        return np.where(self.tp > 0, self.loc / np.maximum(1, self.tp), 1.0)

    @property
    def hota(self) -> Floats:
        """The geometric mean of detection and association accuracy (equation 7)."""
        return np.sqrt(self.deta * self.assa)


def sum_hota(frames: AlignedFrames) -> HotaSums:
    """Match at each threshold, preferring pairs of tracks that are alike over the whole sequence."""
    true_counts, found_counts, alike = _likeness(frames)
    # Few pairs of tracks ever meet: matches are kept as (pair's number, IoU), not as a matrix a threshold.
    pairs, overlaps = [np.zeros(0, np.int64)], [np.zeros(0)]
    tp, fp, fn, loc = (np.zeros(len(ALPHAS)) for _ in range(4))
    for truth, found, overlap in zip(frames.truth, frames.found, frames.similarity, strict=True):
        score = alike[truth[:, None], found[None]] * overlap
        rows, columns = linear_sum_assignment(score, maximize=True)
        values = overlap[rows, columns]
        reached = values[None] >= ALPHAS[:, None] - _EPSILON
        counts = reached.sum(axis=1)
        tp += counts
        fn += len(truth) - counts
        fp += len(found) - counts
        loc += (reached * values).sum(axis=1)
        pairs.append(truth[rows] * frames.num_found_tracks + found[columns])
        overlaps.append(values)
    met, numbers = np.unique(np.concatenate(pairs), return_inverse=True)
    values = np.concatenate(overlaps)
    matches = np.zeros((len(ALPHAS), len(met)))
    for k, alpha in enumerate(ALPHAS):
        matches[k] = np.bincount(numbers[values >= alpha - _EPSILON], minlength=len(met))
    of_true = true_counts[met // max(1, frames.num_found_tracks)]
    of_found = found_counts[met % max(1, frames.num_found_tracks)]
    return HotaSums(
        tp=tp,
        fp=fp,
        fn=fn,
        ass=_sum_of_shares(matches, of_true + of_found - matches),
        ass_re_sum=_sum_of_shares(matches, of_true),
        ass_pr_sum=_sum_of_shares(matches, of_found),
        loc=loc,
    )


def _sum_of_shares(matches: Floats, possible: Floats) -> Floats:
    """Sum over all matches of the share of their pair of tracks that agrees, at each threshold.

    matches: (19, P), how often each pair of tracks is matched; possible: (P,) or (19, P), how often it could.
    """
    summed: Floats = (matches * (matches / np.maximum(1, possible))).sum(axis=1)
    return summed


def _likeness(frames: AlignedFrames) -> tuple[Floats, Floats, Floats]:
    """Boxes of each true and each found track, and how alike each pair of them is over the sequence.

    In each frame a pair shares its IoU over that of all pairs that compete with it; the likeness is the
    Jaccard index of those shares.
    """
    true_counts, found_counts = np.zeros(frames.num_true_tracks), np.zeros(frames.num_found_tracks)
    shared = np.zeros((frames.num_true_tracks, frames.num_found_tracks))
    for truth, found, overlap in zip(frames.truth, frames.found, frames.similarity, strict=True):
        competing = overlap.sum(axis=0)[None] + overlap.sum(axis=1)[:, None] - overlap
        share = np.divide(overlap, competing, out=np.zeros_like(overlap), where=competing > _EPSILON)
        shared[truth[:, None], found[None]] += share
        true_counts[truth] += 1
        found_counts[found] += 1
    either = true_counts[:, None] + found_counts[None] - shared
    alike = np.divide(shared, either, out=np.zeros_like(shared), where=either > 0)
    return true_counts, found_counts, alike
