"""CVAT: `annotations.xml` of images, and below `videos/` one XML a video, of its tracks."""

from __future__ import annotations

from typing import IO

from jobs.export.cvat_xml import END, attributes_of, corners, element, mask_values, start
from jobs.export.names import plain_name
from jobs.export.rows import ExportRow, Found
from jobs.export.writer import Facts, Sink, check_xml_labels, size_of

DOCUMENT, VIDEOS = "annotations.xml", "videos"


class CvatWriter:
    """Images are written as they come; of videos one at a time is held, since a track is one element.

    The first box after a gap, and all others, are keyframes; a box that the tracker put between two is none.
    Where a track is not seen in the next row of its video, an `outside` box at that row ends it.
    """

    def __init__(self, sink: Sink, facts: Facts) -> None:
        check_xml_labels(facts.labels, to="cvat")
        self._sink, self._facts = sink, facts
        self._images: IO[str] | None = None
        self._video: list[ExportRow] = []
        self._num_images = 0

    def add(self, row: ExportRow) -> None:
        if row.frame_index is None:
            self._add_image(row)
            return
        if self._video and self._video[-1].uri != row.uri:
            self._write_video()
        self._video.append(row)

    def close(self) -> None:
        if self._video:
            self._write_video()
        if self._images is not None:
            self._images.write(END)
            self._images.close()

    def _add_image(self, row: ExportRow) -> None:
        assert row.found is not None
        width, height = size_of(row, to="cvat")
        if self._images is None:
            self._images = (self._sink.folder / DOCUMENT).open("w", encoding="utf-8")
            self._images.write(start(self._facts, mode="annotation", name=self._facts.run))
        shapes = "".join(_shapes(found) for found in row.found)
        image = {"id": self._num_images, "name": row.name, "width": width, "height": height}
        self._num_images += 1
        self._images.write(element("image", image, f"\n{shapes}" if shapes else ""))

    def _write_video(self) -> None:
        rows, self._video = self._video, []
        target = self._sink.folder / VIDEOS / f"{plain_name(rows[0].uri, self._facts.source)}.xml"
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(start(self._facts, mode="interpolation", name=rows[0].uri, more=_extent(rows)))
            tracks = video_tracks(rows)
            for number, track in enumerate(tracks):
                label = track[0][1].label
                shapes = "".join(_frames(track, rows))
                file.write(element("track", {"id": number, "label": label, "source": "auto"}, f"\n{shapes}"))
            file.write(END)


def _extent(rows: list[ExportRow]) -> str:
    """Elements for the number of frames, up to the last one, and their size."""
    width, height = next((size_of(row, to="cvat") for row in rows if row.width), (0, 0))
    size = f"<width>{width}</width><height>{height}</height>" if width else ""
    last = max(row.frame_index or 0 for row in rows)
    return f"<size>{last + 1}</size>" + (f"<original_size>{size}</original_size>" if size else "")


def video_tracks(rows: list[ExportRow]) -> list[list[tuple[int, Found]]]:
    """(place in `rows`, box) of each track by its id, then of each detection without one.

    A track that changes its label is cut there: an element has one.
    """
    tracks: dict[tuple[int, str], list[tuple[int, Found]]] = {}
    single = []
    for place, row in enumerate(rows):
        for found in row.found or ():
            if found.track_id is None:
                single.append([(place, found)])
            else:
                tracks.setdefault((found.track_id, found.label), []).append((place, found))
    return [*(tracks[key] for key in sorted(tracks)), *single]


def _frames(track: list[tuple[int, Found]], rows: list[ExportRow]) -> list[str]:
    lines = []
    after = [place for place, _ in track[1:]] + [len(rows)]
    for (place, found), following in zip(track, after, strict=True):
        lines.append(_frame(rows[place], found, outside=False))
        if following > place + 1 and place + 1 < len(rows):
            lines.append(_frame(rows[place + 1], found, outside=True))
    return lines


def _frame(row: ExportRow, found: Found, *, outside: bool) -> str:
    values = {
        "frame": row.frame_index,
        "keyframe": int(outside or not found.interpolated),
        "outside": int(outside),
        "occluded": 0,
        **corners(found),
        "z_order": 0,
    }
    return element("box", values, "" if outside else attributes_of(found))


def _shapes(found: Found) -> str:
    values = {"label": found.label, "source": "auto", "occluded": 0}
    mask = mask_values(found)
    group = {"z_order": 0} if mask is None else {"z_order": 0, "group_id": found.number + 1}
    box = element("box", {**values, **corners(found), **group}, attributes_of(found))
    return box if mask is None else box + element("mask", {**values, **mask, **group})
