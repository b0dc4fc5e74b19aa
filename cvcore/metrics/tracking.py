"""How right tracks are: CLEAR MOT, IDF1 and HOTA, of one sequence and of several together.

All three compare boxes by their intersection over union and do not look at classes:

* CLEAR MOT (Bernardin & Stiefelhagen 2008): matches frame by frame, keeping pairs while they last.
* IDF1 (Ristani et al. 2016): one assignment of whole tracks to whole tracks.
* HOTA (Luiten et al. 2021): detection and association weighed equally, over nineteen thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cvcore.metrics.tracking_clear import ClearCounts, count_clear
from cvcore.metrics.tracking_frames import AlignedFrames, TrackedPair, align
from cvcore.metrics.tracking_hota import HotaSums, sum_hota
from cvcore.metrics.tracking_identity import IdentityCounts, count_identity

__all__ = ["TrackedPair", "TrackingEvaluation", "TrackingMetrics", "evaluate_tracking"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TrackingMetrics:
    """Shares are 0 to 1 (MOTA may be negative); 0 where there is nothing to divide by, but `loca` is 1.

    Where no sequence has a true box, the combined MOTA is minus the number of false boxes, as in TrackEval.

    Attributes:
        hota, deta, assa, loca: means over the thresholds 0.05, 0.10 ... 0.95.
        det_re, det_pr, ass_re, ass_pr: recall and precision behind `deta` and `assa`.
        mota, motp, num_switches, num_fragments: CLEAR MOT at IoU 0.5.
        tp, fp, fn: boxes matched, found in vain, and missed, of CLEAR MOT.
        mostly_tracked, partly_tracked, mostly_lost: true tracks seen in over 80 %, between, in under 20 % of
            their frames.
        idf1, idp, idr: identity F1, precision and recall.
        idtp, idfp, idfn: boxes with the right identity, found ones without it, true ones not given theirs.
        num_frames: that hold anything.
        num_true_tracks, num_found_tracks: how many there are.
    """

    hota: float
    deta: float
    assa: float
    loca: float
    det_re: float
    det_pr: float
    ass_re: float
    ass_pr: float
    mota: float
    motp: float
    num_switches: int
    num_fragments: int
    tp: int
    fp: int
    fn: int
    mostly_tracked: int
    partly_tracked: int
    mostly_lost: int
    idf1: float
    idp: float
    idr: float
    idtp: int
    idfp: int
    idfn: int
    num_frames: int
    num_true_tracks: int
    num_found_tracks: int


@dataclass(frozen=True, slots=True)
class TrackingEvaluation:
    """Metrics of each sequence, and of all together: sums of what is counted, not means of shares."""

    combined: TrackingMetrics
    sequences: dict[str, TrackingMetrics]


@dataclass(frozen=True, slots=True)
class _Sums:
    clear: ClearCounts
    identity: IdentityCounts
    hota: HotaSums
    num_frames: int
    num_true_tracks: int
    num_found_tracks: int

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(
            self.clear + other.clear,
            self.identity + other.identity,
            self.hota + other.hota,
            self.num_frames + other.num_frames,
            self.num_true_tracks + other.num_true_tracks,
            self.num_found_tracks + other.num_found_tracks,
        )


def evaluate_tracking(sequences: Mapping[str, TrackedPair]) -> TrackingEvaluation:
    """Measure tracks against the truth.

    Raises:
        ValueError: if there are no sequences, or an id stands twice in a frame.
    """
    if not sequences:
        raise ValueError("there are no sequences to evaluate")
    sums = {name: _sum(align(pair, name=name)) for name, pair in sequences.items()}
    first, *rest = sums.values()
    for each in rest:
        first = first + each
    return TrackingEvaluation(_metrics(first), {name: _alone(each) for name, each in sums.items()})


def _sum(frames: AlignedFrames) -> _Sums:
    return _Sums(
        count_clear(frames),
        count_identity(frames),
        sum_hota(frames),
        len(frames.similarity),
        frames.num_true_tracks,
        frames.num_found_tracks,
    )


def _alone(sums: _Sums) -> TrackingMetrics:
    """Metrics of one sequence: TrackEval gives it a MOTA of 0 where it has no true box."""
    metrics = _metrics(sums)
    return metrics if sums.num_true_tracks else replace(metrics, mota=0.0)


def _metrics(sums: _Sums) -> TrackingMetrics:
    clear, identity, hota = sums.clear, sums.identity, sums.hota
    return TrackingMetrics(
        hota=float(hota.hota.mean()),
        deta=float(hota.deta.mean()),
        assa=float(hota.assa.mean()),
        loca=float(hota.loca.mean()),
        det_re=float(hota.det_re.mean()),
        det_pr=float(hota.det_pr.mean()),
        ass_re=float(hota.ass_re.mean()),
        ass_pr=float(hota.ass_pr.mean()),
        mota=clear.mota,
        motp=clear.motp,
        num_switches=clear.num_switches,
        num_fragments=clear.num_fragments,
        tp=clear.tp,
        fp=clear.fp,
        fn=clear.fn,
        mostly_tracked=clear.mostly_tracked,
        partly_tracked=clear.partly_tracked,
        mostly_lost=clear.mostly_lost,
        idf1=identity.idf1,
        idp=identity.idp,
        idr=identity.idr,
        idtp=identity.idtp,
        idfp=identity.idfp,
        idfn=identity.idfn,
        num_frames=sums.num_frames,
        num_true_tracks=sums.num_true_tracks,
        num_found_tracks=sums.num_found_tracks,
    )
