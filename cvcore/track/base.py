"""What every tracker is."""

from __future__ import annotations

from typing import Protocol

from cvcore.track.association import Floats, Ints

__all__ = ["UNTRACKED", "Floats", "Ints", "Tracker"]

UNTRACKED = -1


class Tracker(Protocol):
    """Gives identities to the detections of one video, frame by frame.

    State lives in the instance: its ids count from 1, in the order in which tracks were first believed.
    """

    def update(self, boxes: Floats, scores: Floats, label_ids: Ints) -> Ints:
        """Take the next frame's detections; call it for frames without any, too.

        Args:
            boxes: (N, 4) xyxy, pixels, finite.
            scores: (N,), 0 to 1.
            label_ids: (N,).

        Returns:
            (N,) ids in the order given; -1 for what belongs to no track, or to none that is believed yet.
        """
