"""Truth and tracks side by side, frame by frame, as the tracking metrics read them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from cvcore.track.association import iou_matrix

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

IGNORE_IOU = 0.5
_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class TrackedPair:
    """One sequence: what is there and what was found, a row a box, in any order.

    Attributes:
        truth_frames, truth_ids, truth_boxes: (N,), (N,) and (N, 4) xyxy, pixels.
        found_frames, found_ids, found_boxes: (M,), (M,) and (M, 4) xyxy, pixels.
        ignored: (N,) true boxes that neither have to be found nor count as false where they are, or None.
    """

    truth_frames: Ints
    truth_ids: Ints
    truth_boxes: Floats
    found_frames: Ints
    found_ids: Ints
    found_boxes: Floats
    ignored: Bools | None = None

    def __post_init__(self) -> None:
        """Raises ValueError if columns disagree in length or shape."""
        for side, frames, ids, boxes in (
            ("truth", self.truth_frames, self.truth_ids, self.truth_boxes),
            ("found", self.found_frames, self.found_ids, self.found_boxes),
        ):
            n, shapes = len(frames), (frames.shape, ids.shape, boxes.shape)
            if shapes != ((n,), (n,), (n, 4)):
                raise ValueError(f"{side}: frames, ids and boxes are (N,), (N,) and (N, 4), not {shapes}")
        if self.ignored is not None and self.ignored.shape != self.truth_ids.shape:
            raise ValueError(f"ignored is {self.ignored.shape}, the truth has {len(self.truth_ids)} boxes")


@dataclass(frozen=True)
class AlignedFrames:
    """Frames in order, those that hold nothing left out; ids are numbered from 0.

    Attributes:
        truth, found: ids of each frame's boxes.
        similarity: IoU of each frame's true boxes (rows) with its found ones (columns).
    """

    truth: list[Ints]
    found: list[Ints]
    similarity: list[Floats]
    num_true_tracks: int
    num_found_tracks: int


def align(pair: TrackedPair, *, name: str = "the sequence") -> AlignedFrames:
    """Group boxes by frame; leave out ignored true boxes, and what was found where they are.

    What was found is compared with all true boxes by the Hungarian method, as MOT Challenge does for
    distractors (Milan et al. 2016, section 3.1): it goes where its partner, at IoU 0.5 or more, is ignored.

    Raises:
        ValueError: if an id stands twice in a frame.
    """
    ignored = np.zeros(len(pair.truth_ids), bool) if pair.ignored is None else pair.ignored
    truth_ids, found_ids, similarity = [], [], []
    frames = np.union1d(pair.truth_frames, pair.found_frames)
    true_parts, found_parts = _rows_of(pair.truth_frames, frames), _rows_of(pair.found_frames, frames)
    for frame, true_rows, found_rows in zip(frames.tolist(), true_parts, found_parts, strict=True):
        _check_once(pair.truth_ids[true_rows], f"the truth of {name}", frame)
        _check_once(pair.found_ids[found_rows], f"the tracks of {name}", frame)
        overlap = iou_matrix(pair.truth_boxes[true_rows], pair.found_boxes[found_rows])
        counts = ~ignored[true_rows]
        keep = np.ones(len(found_rows), bool)
        if not counts.all():
            keep[_partners(overlap, ~counts)] = False
        if counts.any() or keep.any():
            truth_ids.append(pair.truth_ids[true_rows[counts]])
            found_ids.append(pair.found_ids[found_rows[keep]])
            similarity.append(overlap[counts][:, keep])
    truth, num_true = _renumber(truth_ids)
    found, num_found = _renumber(found_ids)
    return AlignedFrames(truth, found, similarity, num_true, num_found)


def _rows_of(values: Ints, frames: Ints) -> list[Ints]:
    """Rows of each of the frames, which are in order, in the order of the rows."""
    order = np.argsort(values, kind="stable")
    starts = np.searchsorted(values[order], frames)
    return [order[i:j] for i, j in pairwise([*starts.tolist(), len(order)])]


def _partners(overlap: Floats, ignored: Bools) -> Ints:
    """Columns whose partner is an ignored row."""
    enough = overlap >= IGNORE_IOU - _EPSILON
    rows, columns = linear_sum_assignment(np.where(enough, overlap, 0.0), maximize=True)
    real = enough[rows, columns] & ignored[rows]
    partners: Ints = columns[real]
    return partners


def _check_once(ids: Ints, whose: str, frame: int) -> None:
    values, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"{whose} has the id {values[counts > 1][0]} more than once in frame {frame}")


def _renumber(parts: list[Ints]) -> tuple[list[Ints], int]:
    if not parts:
        return [], 0
    values, numbers = np.unique(np.concatenate(parts), return_inverse=True)
    ends = np.cumsum([len(part) for part in parts])[:-1]
    return np.split(numbers.astype(np.int64), ends), len(values)
