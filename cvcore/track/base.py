"""What every tracker is."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
UNTRACKED = -1


class Tracker(Protocol):
    """Gives identities to the detections of one video, frame by frame.

    State lives in the instance: its ids count from 1, in the order in which tracks were first believed.
    """

    def update(self, boxes: Floats, scores: Floats, label_ids: Ints) -> Ints:
        """Take the next frame's detections; call it for frames without any, too.

        Args:
            boxes: (N, 4) xyxy, pixels.
            scores: (N,), 0 to 1.
            label_ids: (N,).

        Returns:
            (N,) ids in the order given; -1 for what belongs to no track, or to none that is believed yet.
        """


class IdCounter:
    """Hands out ids from 1."""

    def __init__(self) -> None:
        self._last = 0

    def give(self, ids: Ints, rows: Ints) -> None:
        """Give new ids to those rows of `ids` that have none yet, in order."""
        unnamed = rows[ids[rows] == UNTRACKED]
        ids[unnamed] = np.arange(self._last + 1, self._last + 1 + len(unnamed))
        self._last += len(unnamed)
