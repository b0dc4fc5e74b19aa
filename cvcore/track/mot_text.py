"""Text of the MOT Challenge (Leal-Taixé et al. 2015, arXiv:1504.01942, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cvcore.track.base import Floats, Ints

MIN_COLUMNS = 6


@dataclass(frozen=True)
class MotRows:
    """Boxes of one sequence, a row each.

    Attributes:
        frames: (N,), from 1.
        ids: (N,); -1 for detections that belong to no track.
        boxes: (N, 4) float64, xyxy, pixels.
        scores: (N,); of ground truth, whether a box is to be considered (0: it is not).
        label_ids: (N,), the column for classes as it stands; -1 where there is none.
    """

    frames: Ints
    ids: Ints
    boxes: Floats
    scores: Floats
    label_ids: Ints

    def __post_init__(self) -> None:
        n = len(self.frames)
        shapes = [self.ids.shape, self.scores.shape, self.label_ids.shape, self.boxes.shape]
        if shapes != [(n,), (n,), (n,), (n, 4)]:
            raise ValueError(f"rows disagree in shape: {n} frames, then {shapes}")

    @property
    def considered(self) -> npt.NDArray[np.bool_]:
        """(N,) of ground truth: which boxes count."""
        return np.not_equal(self.scores, 0)

    def __len__(self) -> int:
        return len(self.frames)


def read_mot(text: str) -> MotRows:
    """Read lines of `frame, id, x, y, width, height[, score[, class[, ...]]]`, comma or space separated.

    Coordinates stay as they are written: x and y are the left and top edges in the writer's own counting.
    A score that is absent is 1. Rows come in the order of the text.

    Raises:
        ValueError: naming the line that is not like that.
    """
    values = [_read_line(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    table = np.array(values, np.float64).reshape(-1, 8)
    boxes = np.concatenate([table[:, 2:4], table[:, 2:4] + table[:, 4:6]], axis=1)
    integers = table[:, [0, 1, 7]].astype(np.int64)
    return MotRows(integers[:, 0], integers[:, 1], boxes, table[:, 6], integers[:, 2])


def _read_line(number: int, line: str) -> list[float]:
    parts = line.replace(",", " ").split()
    try:
        found = [float(part) for part in parts[:8]]
    except ValueError as error:
        raise ValueError(f"line {number}: {line[:80]!r} does not hold numbers") from error
    if len(found) < MIN_COLUMNS:
        raise ValueError(f"line {number}: {line[:80]!r} has {len(found)} columns, {MIN_COLUMNS} are needed")
    if not np.isfinite(found).all():
        raise ValueError(f"line {number}: {line[:80]!r} holds NaN or infinity")
    if found[0] < 1 or found[0] % 1 or found[1] % 1:
        raise ValueError(f"line {number}: frames are whole and count from 1, ids are whole: {line[:80]!r}")
    if found[4] < 0 or found[5] < 0:
        raise ValueError(f"line {number}: width and height must not be negative: {line[:80]!r}")
    return [*found, *[1.0, -1.0][len(found) - 8 :]] if len(found) < 8 else found


def write_mot(rows: MotRows) -> str:
    """The inverse of `read_mot`; numbers are written in full, so that reading gives the same boxes.

    Lines are those of result files: `frame, id, x, y, width, height, score, class, -1, -1`.
    """
    sizes = rows.boxes[:, 2:] - rows.boxes[:, :2]
    columns = zip(
        rows.frames.tolist(),
        rows.ids.tolist(),
        rows.boxes[:, :2].tolist(),
        sizes.tolist(),
        rows.scores.tolist(),
        rows.label_ids.tolist(),
        strict=True,
    )
    return "".join(
        f"{frame},{track_id},{x!r},{y!r},{width!r},{height!r},{score!r},{label_id},-1,-1\n"
        for frame, track_id, (x, y), (width, height), score, label_id in columns
    )
