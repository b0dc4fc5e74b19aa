"""FiftyOne's image detection dataset: `labels.json`, boxes as shares of the image, and where images are.

Read by `fiftyone.Dataset.from_dir(dataset_type=fiftyone.types.FiftyOneImageDetectionDataset, ...)`.
"""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any

from jobs.export.rows import ExportRow, Found
from jobs.export.writer import Facts, Sink, size_of

DOCUMENT = "labels.json"


class FiftyOneWriter:
    """An entry an image, by its name without the extension; an empty one where nothing was found."""

    def __init__(self, sink: Sink, facts: Facts) -> None:
        self._sink = sink
        self._file = (sink.folder / DOCUMENT).open("w", encoding="utf-8")
        self._file.write(f'{{"classes": {json.dumps(list(facts.labels))},\n"labels": {{')
        self._before = "\n"

    def add(self, row: ExportRow) -> None:
        assert row.found is not None
        size = size_of(row, to="fiftyone")
        name = str(PurePosixPath(row.name).with_suffix(""))
        entries = [_entry(found, size) for found in row.found]
        self._file.write(f"{self._before}{json.dumps(name)}: {json.dumps(entries)}")
        self._before = ",\n"
        self._sink.losses["masks"] += sum(found.mask is not None for found in row.found)

    def close(self) -> None:
        self._file.write("\n}}\n")
        self._file.close()


def _entry(found: Found, size: tuple[int, int]) -> dict[str, Any]:
    (x0, y0, x1, y1), (width, height) = found.box, size
    attributes: dict[str, Any] = {"number": found.number}
    if found.track_id is not None:
        attributes["track_id"] = found.track_id
    entry = {
        "label": found.label,
        "bounding_box": [x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height],
        "attributes": attributes,
    }
    return entry if found.score is None else entry | {"confidence": found.score}
