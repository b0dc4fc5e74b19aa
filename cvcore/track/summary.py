"""What each track of a video amounts to, gathered frame by frame in little memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from cvcore.track.base import UNTRACKED, Floats, Ints

MAX_PATH_POINTS = 64


@dataclass(frozen=True)
class TrackSummary:
    """One track.

    Attributes:
        label_id: the class with the largest sum of scores.
        first_frame, last_frame: frame indices.
        first_s, last_s: their times, None where frames have none.
        length: how many detections it has.
        mean_score: of them.
        path: (frame index, x, y) of box centres, pixels; at most `MAX_PATH_POINTS`, evenly thinned.
    """

    track_id: int
    label_id: int
    first_frame: int
    last_frame: int
    first_s: float | None
    last_s: float | None
    length: int
    mean_score: float
    path: tuple[tuple[int, float, float], ...]


@dataclass
class _Track:
    first_frame: int
    first_s: float | None
    last_frame: int = 0
    last_s: float | None = None
    length: int = 0
    scores: dict[int, float] = field(default_factory=dict)
    path: list[tuple[int, float, float]] = field(default_factory=list)
    stride: int = 1

    def add(self, frame: int, second: float | None, x: float, y: float, label_id: int, score: float) -> None:
        if self.length % self.stride == 0:
            if len(self.path) == MAX_PATH_POINTS:
                del self.path[1::2]
                self.stride *= 2
            if self.length % self.stride == 0:
                self.path.append((frame, x, y))
        self.last_frame, self.last_s = frame, second
        self.length += 1
        self.scores[label_id] = self.scores.get(label_id, 0.0) + score


class TrackBook:
    """Adds up tracks; a track takes a bounded amount of memory, however long it is."""

    def __init__(self) -> None:
        self._tracks: dict[int, _Track] = {}

    def add(
        self, frame: int, second: float | None, boxes: Floats, ids: Ints, label_ids: Ints, scores: Floats
    ) -> None:
        """Add a frame's detections: (N, 4) xyxy pixels, and (N,) ids (-1: none), classes and scores."""
        centres = ((boxes[:, :2] + boxes[:, 2:]) / 2).tolist()
        values = zip(ids.tolist(), centres, label_ids.tolist(), scores.tolist(), strict=True)
        for track_id, (x, y), label_id, score in values:
            if track_id != UNTRACKED:
                if track_id not in self._tracks:
                    self._tracks[track_id] = _Track(frame, second)
                self._tracks[track_id].add(frame, second, x, y, label_id, score)

    def finish(self) -> list[TrackSummary]:
        """All tracks in the order of their ids."""
        return [_summary(track_id, track) for track_id, track in sorted(self._tracks.items())]


def _summary(track_id: int, track: _Track) -> TrackSummary:
    best = min(track.scores, key=lambda label_id: (-track.scores[label_id], label_id))
    return TrackSummary(
        track_id=track_id,
        label_id=best,
        first_frame=track.first_frame,
        last_frame=track.last_frame,
        first_s=track.first_s,
        last_s=track.last_s,
        length=track.length,
        mean_score=sum(track.scores.values()) / track.length,
        path=tuple(track.path),
    )
