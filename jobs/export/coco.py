"""COCO: `annotations.json` (instances, with scores) and `results.json`, both written as rows come.

Masks are run lengths in both; asked for polygons, annotations have those, and results, where COCO knows run
lengths alone, stay as they are.

Further keys of an image are `uri`, `frame_index` and `timestamp_s`; of an annotation `score`, `number` (its
place among its image's detections in the run, from 0), `track_id` and `interpolated`. Ids count in the run,
so that they are the same in every export of it. https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from typing import IO, Any

from cvcore.ops.masks import mask_area
from cvcore.ops.outlines import mask_polygons
from jobs.export.rows import ExportRow, Found
from jobs.export.writer import Facts, Sink, found_mask, size_of

DOCUMENT, RESULTS = "annotations.json", "results.json"


class CocoWriter:
    """Annotations go into the document at once, images aside, since a document lists one after the other."""

    def __init__(self, sink: Sink, facts: Facts, *, polygons: bool = False) -> None:
        self._facts, self._index, self._polygons = facts, facts.label_index, polygons
        self._aside = sink.folder / ".images"
        self._document = (sink.folder / DOCUMENT).open("w", encoding="utf-8")
        self._results = (sink.folder / RESULTS).open("w", encoding="utf-8")
        self._images = self._aside.open("w", encoding="utf-8")
        info = {
            "description": f"detections of {facts.run}",
            "version": facts.model_version,
            "partial": facts.partial,
        }
        self._document.write(f'{{"info": {json.dumps(info)},\n"annotations": [')
        self._results.write("[")
        self._before: dict[IO[str], str] = dict.fromkeys((self._document, self._results, self._images), "\n")

    def add(self, row: ExportRow) -> None:
        assert row.found is not None
        self._write(self._images, [json.dumps(self._image(row))])
        results, annotations = [], []
        for found in row.found:
            shared = self._shared(found, row.ordinal)
            mask = "" if found.mask is None else f', "segmentation": {json.dumps(dict(found.mask))}'
            results.append(f"{{{shared}{mask}}}")
            if found.mask is not None and self._polygons:
                mask = f', "segmentation": {json.dumps(_flat_polygons(found.mask))}'
            annotations.append(f'{{"id": {found.ordinal}, {shared}{mask}, {_rest(found)}}}')
        self._write(self._results, results)
        self._write(self._document, annotations)

    def _shared(self, found: Found, image_id: int) -> str:
        """What a result says too. Sides are differences of float32 in float64, which is exact."""
        x0, y0, x1, y1 = found.box
        text = (
            f'"image_id": {image_id}, "category_id": {self._index[found.label] + 1}, '
            f'"bbox": [{x0!r}, {y0!r}, {x1 - x0!r}, {y1 - y0!r}]'
        )
        return text if found.score is None else f'{text}, "score": {found.score!r}'

    def _image(self, row: ExportRow) -> dict[str, Any]:
        width, height = (row.width, row.height) if not self._facts.has_images else size_of(row, to="coco")
        image: dict[str, Any] = {"id": row.ordinal, "file_name": row.name, "width": width, "height": height}
        image["uri"] = row.uri
        if row.frame_index is not None:
            image |= {"frame_index": row.frame_index, "timestamp_s": row.timestamp_s}
        return image

    def _write(self, file: IO[str], texts: list[str]) -> None:
        if texts:
            file.write(self._before[file] + ",\n".join(texts))
            self._before[file] = ",\n"

    def close(self) -> None:
        categories = [{"id": k + 1, "name": label} for label, k in self._index.items()]
        self._document.write('],\n"images": [')
        self._images.close()
        with self._aside.open(encoding="utf-8") as images:
            shutil.copyfileobj(images, self._document)
        self._aside.unlink()
        self._document.write(f'],\n"categories": {json.dumps(categories)}}}\n')
        self._document.close()
        self._results.write("]\n")
        self._results.close()


def _rest(found: Found) -> str:
    text = f'"area": {_area(found)!r}, "iscrowd": 0, "number": {found.number}'
    if found.track_id is not None:
        text += f', "track_id": {found.track_id}'
    return text + (', "interpolated": true' if found.interpolated else "")


def _area(found: Found) -> float:
    """Pixels of the mask, or of the box where there is none."""
    if found.mask is None:
        x0, y0, x1, y1 = found.box
        return (x1 - x0) * (y1 - y0)
    return float(mask_area(found.mask))


def _flat_polygons(rle: Mapping[str, Any]) -> list[list[float]]:
    """A polygon a piece, as pycocotools draws it; of none without pixels."""
    return [[value for point in polygon for value in point] for polygon in mask_polygons(found_mask(rle))]
