"""COCO panoptic of a segmenter's run: `panoptic.json`, and a PNG an image in `panoptic/`.

A class that is in an image is one segment of it, see `cvcore.datasets.panoptic`.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from cvcore.datasets.mask_files import read_mask
from cvcore.datasets.panoptic import encode_segments, panoptic_categories, segments_of
from cvcore.errors import ImageError, SpecError
from jobs.export.facts import ALL, read_facts
from jobs.export.options import Options
from jobs.export.outcome import Exported, open_failures
from jobs.export.output import MANIFEST, staged
from jobs.export.rows import ExportRow, iter_rows
from jobs.export.writer import Facts
from jobs.report.run import read_run
from jobs.storage import Access, StorageError, open_store, resolve_location

PANOPTIC = "coco-panoptic"
DOCUMENT, FOLDER = "panoptic.json", "panoptic"


def export_panoptic(run: str, *, out: str, access: Access, options: Options) -> Exported:
    """Write a segmenter's run; of an export that fails, nothing is left.

    Raises:
        SpecError: for a run without maps or not finished, an `out` that is in use, and options of detections.
    """
    if replace(options, limit=None, partial=False, overwrite=False) != Options():
        raise SpecError(
            f"{PANOPTIC} is of maps: what chooses, orders or corrects detections has no place in it"
        )
    options.checked(PANOPTIC)
    uri = resolve_location(run)
    store = open_store(uri, access)
    found = read_run(uri, store)
    facts = read_facts(found, store, partial=options.partial, column="map")
    counts: Counter[str] = Counter()
    with staged(out, access=access, overwrite=options.overwrite) as folder:
        writer = PanopticWriter(folder, facts)
        with open_failures(folder) as failures:
            for row in iter_rows(found.parts, store, source=facts.source, choice=ALL, masks=False, maps=True):
                counts["inputs"] += 1
                if row.map is None:
                    counts["failed"] += 1
                    failures.add(row)
                elif options.limit is None or counts["looked_at"] < options.limit:
                    counts["looked_at"] += 1
                    counts["segments"] += writer.add(row, row.map)
        writer.close()
        counts["not_looked_at"] = found.record.num_inputs - counts["inputs"]
        manifest = {
            "run": uri,
            "job_id": found.record.job_id,
            "model": facts.model_version,
            "format": PANOPTIC,
            "partial": facts.partial,
            "limit": options.limit,
            "counts": dict(counts),
        }
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return Exported(
        resolve_location(out),
        PANOPTIC,
        looked_at=counts["looked_at"],
        empty=0,
        failed=counts["failed"],
        not_looked_at=counts["not_looked_at"],
        detections=counts["segments"],
        left_out=0,
        losses={},
    )


class PanopticWriter:
    """Annotations go into the document at once, images aside, since a document lists one after the other."""

    def __init__(self, folder: Path, facts: Facts) -> None:
        self._folder, self._facts = folder, facts
        self._aside = folder / ".images"
        self._images = self._aside.open("w", encoding="utf-8")
        self._document = (folder / DOCUMENT).open("w", encoding="utf-8")
        info = {
            "description": f"maps of {facts.run}",
            "version": facts.model_version,
            "partial": facts.partial,
        }
        self._document.write(f'{{"info": {json.dumps(info)},\n"annotations": [')
        self._before = "\n"

    def add(self, row: ExportRow, body: bytes) -> int:
        """Write an image; returns how many segments it has.

        Args:
            body: its map, a PNG of class ids.

        Raises:
            StorageError: for a map that is none.
        """
        try:
            classes = read_mask(body, name=row.uri)
        except ImageError as error:
            raise StorageError(f"a row holds a map that is none ({error}): the run was altered") from error
        segments = segments_of(classes, num_classes=len(self._facts.labels))
        name = f"{row.name}.png"
        path = self._folder / FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_segments(classes, num_classes=len(self._facts.labels)))
        annotation = {"image_id": row.ordinal, "file_name": name, "segments_info": segments}
        height, width = classes.shape
        image: dict[str, Any] = {"id": row.ordinal, "file_name": row.name, "width": width, "height": height}
        image["uri"] = row.uri
        self._document.write(self._before + json.dumps(annotation))
        self._images.write(self._before + json.dumps(image))
        self._before = ",\n"
        return len(segments)

    def close(self) -> None:
        """Write images and categories behind the annotations."""
        self._images.close()
        self._document.write('],\n"images": [')
        with self._aside.open(encoding="utf-8") as images:
            shutil.copyfileobj(images, self._document)
        self._aside.unlink()
        categories = json.dumps(panoptic_categories(self._facts.labels))
        self._document.write(f'],\n"categories": {categories}}}\n')
        self._document.close()
