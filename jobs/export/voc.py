"""Pascal VOC: an XML an image in `Annotations/`, and `ImageSets/Main/all.txt`, which lists them.

`labelmap.txt` names the labels, as CVAT and Datumaro ask where they are not VOC's own twenty.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import numpy as np

from cvcore.datasets.records import ImageRecord, no_boxes
from cvcore.datasets.voc import ANNOTATIONS, SETS
from cvcore.datasets.voc_write import annotation_xml
from cvcore.errors import SpecError
from jobs.export.rows import ExportRow, Found
from jobs.export.writer import Facts, Sink, check_xml_labels, size_of


class VocWriter:
    """What VOC has no element for stands in `<attributes>`, as CVAT writes them: score, number, track, "
    "mask."""

    def __init__(self, sink: Sink, facts: Facts) -> None:
        check_xml_labels(facts.labels, to="voc")
        self._labels, self._index = facts.labels, facts.label_index
        lines = ["# label:color_rgb:parts:actions", *(f"{label}:::" for label in facts.labels)]
        (sink.folder / "labelmap.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._folder = sink.folder / ANNOTATIONS
        self._folder.mkdir()
        (sink.folder / SETS).mkdir(parents=True)
        self._list = (sink.folder / SETS / "all.txt").open("w", encoding="utf-8")

    def add(self, row: ExportRow) -> None:
        assert row.found is not None
        name = row.name.replace("/", "__")
        image = ImageRecord(
            name,
            *size_of(row, to="voc"),
            np.array([found.box for found in row.found], np.float64) if row.found else no_boxes(),
            np.array([self._index[found.label] for found in row.found], np.int64),
            tuple(map(_attributes, row.found)),
            _details(row),
        )
        stem = PurePosixPath(name).stem
        try:
            with (self._folder / f"{stem}.xml").open("xb") as file:
                file.write(annotation_xml(image, self._labels, file_name=name))
        except FileExistsError:
            raise SpecError(
                f"{row.uri} and another image have one name in VOC, {stem}: export to coco, or rename one"
            ) from None
        self._list.write(f"{stem}\n")

    def close(self) -> None:
        self._list.close()


def _attributes(found: Found) -> dict[str, Any]:
    known = {
        "score": found.score,
        "number": found.number,
        "track_id": found.track_id,
        "interpolated": found.interpolated or None,
        "segmentation": None if found.mask is None else dict(found.mask),
    }
    return {key: value for key, value in known.items() if value is not None}


def _details(row: ExportRow) -> dict[str, Any]:
    known = {"uri": row.uri, "frame_index": row.frame_index, "timestamp_s": row.timestamp_s}
    return {key: value for key, value in known.items() if value is not None}
