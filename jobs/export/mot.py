"""MOT Challenge: `<video>.txt`, a line a box, all numbers in full."""

from __future__ import annotations

from typing import IO

import numpy as np

from cvcore.errors import SpecError
from cvcore.track.mot_text import MotRows, write_mot
from jobs.export.rows import ExportRow
from jobs.export.writer import Facts, Sink
from jobs.mot import free_name


class MotWriter:
    """Frames are counted from 1, x and y from 0; detections without a track have the id -1."""

    def __init__(self, sink: Sink, facts: Facts) -> None:
        if not facts.has_videos:
            raise SpecError(f"{facts.run} has no rows of videos: MOT text is of frames")
        self._sink = sink
        self._uri: str | None = None
        self._file: IO[str] | None = None
        self._written: list[str] = []

    def add(self, row: ExportRow) -> None:
        assert row.found is not None
        if row.frame_index is None:
            self._sink.losses["images, which are in no video"] += 1
            return
        if row.uri != self._uri:
            self.close()
            name = free_name(row.uri, self._written)
            self._written.append(f"{name}.txt")
            self._uri, self._file = row.uri, (self._sink.folder / f"{name}.txt").open("x", encoding="ascii")
        assert self._file is not None
        self._file.write(write_mot(_mot_rows(row)))
        self._sink.losses["names of labels, which are numbers"] += len(row.found)
        self._sink.losses["masks"] += sum(found.mask is not None for found in row.found)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _mot_rows(row: ExportRow) -> MotRows:
    assert row.found is not None
    assert row.frame_index is not None
    found = row.found
    return MotRows(
        frames=np.full(len(found), row.frame_index + 1, np.int64),
        ids=np.array([each.track_id or -1 for each in found], np.int64),
        boxes=np.array([each.box for each in found], np.float64).reshape(-1, 4),
        scores=np.array([1.0 if each.score is None else each.score for each in found], np.float64),
        label_ids=np.array([each.label_id for each in found], np.int64),
    )
