"""Boxes for the frames in which a track was not seen."""

from __future__ import annotations

import numpy as np

from cvcore.track.base import Floats, Ints


def interpolate_gap(first: int, before: Floats, last: int, after: Floats) -> tuple[Ints, Floats]:
    """Boxes between two that were seen, moving evenly from one to the other.

    Args:
        first, last: frames of the two boxes, `first` < `last`.
        before, after: (4,) xyxy, pixels.

    Returns:
        (K,) frames between them and (K, 4) boxes; none where the frames follow each other.
    """
    if last <= first:
        raise ValueError(f"a gap ends after it begins, got frames {first} to {last}")
    frames = np.arange(first + 1, last)
    share = ((frames - first) / (last - first))[:, None]
    return frames, before + share * (after - before)
