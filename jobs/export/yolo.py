"""YOLO: a text an image below `labels/`, empty where nothing was found, and `data.yaml`.

Images are expected below `images/` under the same names; `images.txt` lists them. A mask is written as its
outline, one polygon a line, in place of the box.
"""

from __future__ import annotations

import yaml

from cvcore.datasets.yolo import box_line, label_name, polygon_line
from cvcore.errors import SpecError
from cvcore.ops.outlines import joined_outline
from jobs.export.rows import ExportRow, Found
from jobs.export.writer import Facts, Sink, found_mask, size_of


class YoloWriter:
    """Texts are written one after the other; no name is held in memory."""

    def __init__(self, sink: Sink, facts: Facts) -> None:
        self._sink, self._facts, self._index = sink, facts, facts.label_index
        self._list = (sink.folder / "images.txt").open("w", encoding="utf-8")
        self._made: set[str] = set()

    def add(self, row: ExportRow) -> None:
        assert row.found is not None
        size = size_of(row, to="yolo")
        place = f"images/{row.name}"
        text = label_name(place)
        folder = text.rpartition("/")[0]
        if folder not in self._made:
            (self._sink.folder / folder).mkdir(parents=True, exist_ok=True)
            self._made.add(folder)
        body = "".join(self._line(found, size) for found in row.found)
        try:
            with (self._sink.folder / text).open("x", encoding="ascii") as file:
                file.write(body)
        except FileExistsError:
            raise SpecError(
                f"{row.uri} and another image differ in their extension alone, and YOLO has one text for "
                f"both "
                f"({text}): export to coco, or rename one"
            ) from None
        self._list.write(f"{place}\n")
        self._count(row.found)

    def _line(self, found: Found, size: tuple[int, int]) -> str:
        label_id = self._index[found.label]
        outline = [] if found.mask is None else joined_outline(found_mask(found.mask))
        if not outline:
            return box_line(found.box, label_id, size)
        return polygon_line(outline, label_id, size)

    def _count(self, found: tuple[Found, ...]) -> None:
        losses = self._sink.losses
        losses["scores"] += len(found)
        losses["track ids"] += sum(each.track_id is not None for each in found)
        losses["boxes of masks, beside what the outline says"] += sum(e.mask is not None for e in found)

    def close(self) -> None:
        self._list.close()
        names = dict(enumerate(self._facts.labels))
        content = {"train": "images", "val": "images", "names": names}
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        (self._sink.folder / "data.yaml").write_text(text, encoding="utf-8")
