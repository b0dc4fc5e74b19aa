"""The parameters of the trackers; values are those of papers and authors where nothing else is said."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


def _check(options: Any, *fractions: str, **least: int) -> None:
    for name in fractions:
        value = getattr(options, name)
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} must be between 0 and 1, got {value}")
    for name, lowest in least.items():
        value = getattr(options, name)
        if value < lowest:
            raise ValueError(f"{name} must be at least {lowest}, got {value}")


@dataclass(frozen=True)
class SortOptions:
    """SORT (Bewley et al. 2016, arXiv:1602.00763, section 3).

    Values are those of the paper and its authors' code, but for `max_age`: the paper's 1 gives an object that
    is missed in two frames a new id, which costs far more than what a wait as long as ByteTrack's does
    (docs/benchmarks.md).

    Attributes:
        min_score: detections below are not looked at.
        min_iou: a detection and a track's prediction that overlap less are never one (IoU_min).
        max_age: frames without a detection after which a track ends (T_lost; 1 in the paper).
        min_hits: frames in a row with a detection before a track is believed; none are needed in the first
            `min_hits` frames.
        class_aware: whether only detections of a track's own class continue it.
    """

    min_score: float = 0.25
    min_iou: float = 0.3
    max_age: int = 30
    min_hits: int = 3
    class_aware: bool = False

    def __post_init__(self) -> None:
        _check(self, "min_score", "min_iou", max_age=1, min_hits=0)


@dataclass(frozen=True)
class ByteTrackOptions:
    """ByteTrack (Zhang et al. 2022, arXiv:2110.06864, algorithm 1 and section 4.1).

    What the paper leaves open has the values of its authors' code.

    Attributes:
        high_score: detections from here on are associated first, with tracked and lost tracks.
        low_score: detections between this and `high_score` are associated second, with tracked ones alone;
            those below are not looked at.
        new_track_score: unmatched detections from here on begin tracks.
        min_iou_first, min_iou_second, min_iou_unconfirmed: least similarity of a match in the first and
            second association, and with tracks that have been seen once.
        fuse_score: whether the similarity of the first association, and with tracks seen once, is the IoU
            times the score, as in the authors' code, or the IoU alone, as in the paper.
        max_lost: frames for which a track that is not seen is kept and may be found again.
        class_aware: whether only detections of a track's own class continue it.
    """

    high_score: float = 0.6
    low_score: float = 0.1
    new_track_score: float = 0.7
    min_iou_first: float = 0.2
    min_iou_second: float = 0.5
    min_iou_unconfirmed: float = 0.3
    fuse_score: bool = False
    max_lost: int = 30
    class_aware: bool = False

    def __post_init__(self) -> None:
        fractions = [f.name for f in fields(self) if f.name not in ("fuse_score", "max_lost", "class_aware")]
        _check(self, *fractions, max_lost=0)
        if not self.low_score <= self.high_score <= self.new_track_score:
            raise ValueError(
                "low_score, high_score and new_track_score must not fall, got "
                f"{self.low_score}, {self.high_score} and {self.new_track_score}"
            )
