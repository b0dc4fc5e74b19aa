"""Label Studio: `tasks.json`, predictions with boxes in percent and brushes, and `labeling.xml` to set it up.

Each box is a region whose id is its number in the image; a mask is a further region, of a brush, whose parent
is the box. https://labelstud.io/guide/task_format
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from cvcore.ops.label_studio_rle import encode_brush
from jobs.export.rows import ExportRow, Found
from jobs.export.writer import Facts, Sink, check_xml_labels, found_mask, size_of
from jobs.storage import is_s3
from jobs.storage.locations import path_of_location

TASKS, SETUP = "tasks.json", "labeling.xml"
BOXES, BRUSHES, IMAGE = "label", "brush", "image"


class LabelStudioWriter:
    """A task an image, with one prediction: empty where nothing was found."""

    def __init__(self, sink: Sink, facts: Facts) -> None:
        check_xml_labels(facts.labels, to="label-studio")
        self._facts = facts
        (sink.folder / SETUP).write_text(_setup(facts), encoding="utf-8")
        self._file = (sink.folder / TASKS).open("w", encoding="utf-8")
        self._before = "[\n"

    def add(self, row: ExportRow) -> None:
        assert row.found is not None
        size = size_of(row, to="label-studio")
        result = [region for found in row.found for region in _regions(found, size)]
        scores = [found.score for found in row.found if found.score is not None]
        prediction: dict[str, Any] = {"model_version": self._facts.model_version, "result": result}
        if scores:
            prediction["score"] = sum(scores) / len(scores)
        data: dict[str, Any] = {"image": _shown(row.uri), "uri": row.uri, "name": row.name}
        if row.frame_index is not None:
            data |= {"frame_index": row.frame_index, "timestamp_s": row.timestamp_s}
        self._file.write(self._before + json.dumps({"data": data, "predictions": [prediction]}))
        self._before = ",\n"

    def close(self) -> None:
        self._file.write("\n]\n" if self._before == ",\n" else "[]\n")
        self._file.close()


def _shown(uri: str) -> str:
    """Where Label Studio gets an image: files of this machine from its own server, rooted at /."""
    return uri if is_s3(uri) else f"/data/local-files/?d={quote(path_of_location(uri).lstrip('/'))}"


def _regions(found: Found, size: tuple[int, int]) -> list[dict[str, Any]]:
    width, height = size
    x0, y0, x1, y1 = found.box
    shared = {"to_name": IMAGE, "original_width": width, "original_height": height, "image_rotation": 0}
    if found.score is not None:
        shared["score"] = found.score
    box = {
        "x": x0 * 100 / width,
        "y": y0 * 100 / height,
        "width": (x1 - x0) * 100 / width,
        "height": (y1 - y0) * 100 / height,
        "rotation": 0,
        "rectanglelabels": [found.label],
    }
    meta = {} if found.track_id is None else {"meta": {"text": [f"track_id={found.track_id}"]}}
    name = str(found.number)
    regions = [{"id": name, "type": "rectanglelabels", "from_name": BOXES, "value": box, **shared, **meta}]
    if found.mask is not None:
        mask = found_mask(found.mask)
        brush = {"format": "rle", "rle": encode_brush(mask), "brushlabels": [found.label]}
        kind = {"id": f"{name}-mask", "parentID": name, "type": "brushlabels", "from_name": BRUSHES}
        regions.append({**kind, "value": brush, **shared})
    return regions


def _setup(facts: Facts) -> str:
    labels = "".join(f"\n    <Label value={quoteattr(label)}/>" for label in facts.labels)
    brushes = f'  <BrushLabels name="{BRUSHES}" toName="{IMAGE}">{labels}\n  </BrushLabels>\n'
    return (
        f'<View>\n  <Image name="{IMAGE}" value="$image"/>\n'
        f'  <RectangleLabels name="{BOXES}" toName="{IMAGE}">{labels}\n  </RectangleLabels>\n'
        f"{brushes if facts.has_masks else ''}</View>\n"
    )
