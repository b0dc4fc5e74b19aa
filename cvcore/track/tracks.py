"""The tracks that a tracker follows at present."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cvcore.track.base import UNTRACKED, Floats, Ints
from cvcore.track.kalman import BoxFilter, Motion

# Rows of the table: id (-1 until the track is believed), class, and the frames in which it began and was
# last seen.
ID, LABEL, BEGAN, SEEN = range(4)


class Tracks:
    """Where each track is, and what is known of it.

    Attributes:
        filter: positions and velocities.
        table: (4, T), its rows in the order of the constants above.
    """

    def __init__(self, motion: Motion) -> None:
        self.filter = BoxFilter(motion)
        self.table: Ints = np.zeros((4, 0), np.int64)
        self._last_id = 0

    def __len__(self) -> int:
        return int(self.table.shape[1])

    def begin(self, measured: Floats, label_ids: Ints, frame: int) -> None:
        """Add tracks that are seen for the first time: (4, N) coordinates and (N,) classes."""
        new = np.empty((4, len(label_ids)), np.int64)
        new[ID] = UNTRACKED
        new[LABEL] = label_ids
        new[BEGAN:] = frame
        self.table = np.concatenate((self.table, new), axis=1)
        self.filter.append(measured)

    def believe(self, tracks: Ints) -> None:
        """Give the next ids to tracks, in the order given."""
        self.table[ID, tracks] = np.arange(self._last_id + 1, self._last_id + 1 + len(tracks))
        self._last_id += len(tracks)

    def keep(self, mask: npt.NDArray[np.bool_]) -> None:
        """Keep the tracks where `mask`, (T,), holds."""
        if np.count_nonzero(mask) < len(mask):
            self.table = self.table.compress(mask, axis=1)
            self.filter.keep(mask)

    def ids(self, owner: Ints) -> Ints:
        """Ids of detections by their tracks, (N,), that all have one; -1 where it is not believed."""
        ids: Ints = self.table[ID].take(owner)
        return ids
