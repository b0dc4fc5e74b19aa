"""CSV: `images.csv`, a line an input, failed ones too, and `detections.csv`, a line a box."""

from __future__ import annotations

import csv

from jobs.export.rows import ExportRow
from jobs.export.writer import Facts, Sink

IMAGE_COLUMNS = ("uri", "name", "frame_index", "timestamp_s", "width", "height", "num_detections")
BOX_COLUMNS = ("uri", "frame_index", "number", "label", "label_id", "score", "x0", "y0", "x1", "y1")
TRACK_COLUMNS = ("track_id", "interpolated")
MASK_COLUMNS = ("mask_height", "mask_width", "mask_counts")


class CsvWriter:
    """Numbers are written in full: reading them gives the run's own."""

    def __init__(self, sink: Sink, facts: Facts) -> None:
        self._facts = facts
        self._files = [
            (sink.folder / name).open("w", encoding="utf-8", newline="")
            for name in ("images.csv", "detections.csv")
        ]
        self._images, self._boxes = (csv.writer(file, lineterminator="\n") for file in self._files)
        self._images.writerow(IMAGE_COLUMNS)
        more = TRACK_COLUMNS * facts.has_tracks + MASK_COLUMNS * facts.has_masks
        self._boxes.writerow(BOX_COLUMNS + more)

    def add(self, row: ExportRow) -> None:
        assert row.found is not None
        self._images.writerow(
            [row.uri, row.name, row.frame_index, row.timestamp_s, row.width, row.height, len(row.found)]
        )
        for found in row.found:
            values = [row.uri, row.frame_index, found.number, found.label, found.label_id, found.score]
            values += found.box
            if self._facts.has_tracks:
                values += [found.track_id, int(found.interpolated)]
            if self._facts.has_masks:
                mask = found.mask
                values += [*mask["size"], mask["counts"]] if mask is not None else [None] * 3
            self._boxes.writerow(values)

    def close(self) -> None:
        for file in self._files:
            file.close()
