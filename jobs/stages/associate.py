"""Tracking one video: its rows are read unit by unit, and published again with a track for each detection."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cvcore.track.catalog import make_tracker
from cvcore.track.interpolate import interpolate_gap
from cvcore.track.summary import TrackBook
from jobs.plan import Plan
from jobs.run_folder import RunFolder, part_name
from jobs.sink import decode_part, publish
from jobs.stages.decode import process_store
from jobs.storage import Access, Store, is_s3, join
from jobs.track_spec import TrackSection
from jobs.track_table import encode_tracks, track_rows

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
UNTRACKED = -1


@dataclass(frozen=True)
class TrackTask:
    """What a tracking task needs besides the plan.

    Attributes:
        detections: the run that is read.
        folder: the run that is written.
        units: of one video, in order; or one unit of images.
    """

    detections: RunFolder
    folder: RunFolder
    units: tuple[int, ...]
    is_video: bool
    track: TrackSection
    metadata: dict[bytes, bytes]
    access: Access
    writer: str


def track_parts_of(folder: RunFolder, units: tuple[int, ...]) -> str:
    """Where the tracks of one video wait to become part of the table."""
    return join(folder.track_parts, part_name(units[0]))


def track_video(task: TrackTask, plan: Plan) -> list[dict[str, Any]]:
    """Track a video and publish its units and its tracks; returns `PartSummary`s as dictionaries.

    Memory holds a few units, whatever the video's length.
    """
    source = process_store(is_s3(task.detections.uri), task.access)
    sink = process_store(is_s3(task.folder.uri), task.access)
    video = _Video(task.track)
    summaries = []
    for unit, table in _tracked(task, plan, source, video):
        uri = task.folder.unit(unit, units_per_file=plan.units_per_file)
        summary = publish(sink, uri, unit, table, metadata=task.metadata, writer=task.writer)
        summaries.append(asdict(summary))
    if task.is_video:
        location = str(plan.inputs.rows([plan.unit_rows(task.units[0])[0]]).column("uri")[0].as_py())
        tracks = track_rows(location, video.book.finish(), video.labels)
        sink.create(track_parts_of(task.folder, task.units), encode_tracks(tracks), writer=task.writer)
    return summaries


def _tracked(task: TrackTask, plan: Plan, source: Store, video: _Video) -> Iterator[tuple[int, pa.Table]]:
    waiting: deque[tuple[int, pa.Table, list[Ids], int]] = deque()
    for unit, rows in read_units(task.detections, plan, task.units, source):
        ids = video.add(rows) if task.is_video else [np.full(n, UNTRACKED) for n in _counts(rows)]
        waiting.append((unit, rows, ids, video.position))
        while waiting and waiting[0][3] + task.track.interpolate_gap < video.position:
            yield _finished(*waiting.popleft(), video=video)
    while waiting:
        yield _finished(*waiting.popleft(), video=video)


def _finished(unit: int, rows: pa.Table, ids: list[Ids], stop: int, *, video: _Video) -> tuple[int, pa.Table]:
    added = [video.added.pop(position, []) for position in range(stop - rows.num_rows, stop)]
    return unit, with_tracks(rows, ids, added if video.interpolates else None)


def read_units(
    folder: RunFolder, plan: Plan, units: tuple[int, ...], store: Store
) -> Iterator[tuple[int, pa.Table]]:
    """Each unit's rows of a finished run, whose files may hold several."""
    known, table = -1, pa.table({})
    for unit in units:
        file = unit // plan.units_per_file
        if file != known:
            known, table = file, decode_part(store.read(folder.file(file)))
        before = sum(plan.unit_size(each) for each in plan.units_of_file(file) if each < unit)
        yield unit, table.slice(before, plan.unit_size(unit))


@dataclass(frozen=True)
class Added:
    """A box that interpolation puts where a track was not seen."""

    box: Floats  # (4,) xyxy, pixels
    score: float
    label: str | None
    label_id: int
    track_id: int


@dataclass
class _Seen:
    position: int
    box: Floats
    score: float


class _Video:
    """The state of tracking through one video: the tracker, its tracks, and what interpolation adds."""

    def __init__(self, track: TrackSection) -> None:
        self.book = TrackBook()
        self.labels: dict[int, str] = {}
        self.position = 0
        self.added: dict[int, list[Added]] = {}
        self.interpolates = track.interpolate_gap > 0
        self._tracker = make_tracker(track.options)
        self._max_gap = track.interpolate_gap
        self._seen: dict[int, _Seen] = {}

    def add(self, rows: pa.Table) -> list[Ids]:
        """Track the next rows; returns ids for each row's detections."""
        counts, columns = _counts(rows), _columns(rows)
        frames, seconds = rows.column("frame_index").to_pylist(), rows.column("timestamp_s").to_pylist()
        self.labels.update(zip(columns.label_ids.tolist(), columns.labels, strict=True))
        found, start = [], 0
        for frame, second, count in zip(frames, seconds, counts, strict=True):
            part = slice(start, start + count)
            boxes, scores, label_ids = columns.boxes[part], columns.scores[part], columns.label_ids[part]
            ids = self._tracker.update(boxes, scores, label_ids)
            if frame is not None:
                self.book.add(frame, second, boxes, ids, label_ids, scores)
            if self._max_gap:
                self._interpolate(boxes, scores, label_ids, ids)
            found.append(ids)
            start += count
            self.position += 1
        return found

    def _interpolate(self, boxes: Floats, scores: Floats, label_ids: Ids, ids: Ids) -> None:
        for box, score, label_id, track_id in zip(boxes, scores, label_ids, ids.tolist(), strict=True):
            if track_id == UNTRACKED:
                continue
            before = self._seen.get(track_id)
            if before is not None and 1 < self.position - before.position <= self._max_gap + 1:
                positions, between = interpolate_gap(before.position, before.box, self.position, box)
                worse = min(before.score, float(score))
                for position, added in zip(positions.tolist(), between, strict=True):
                    item = Added(added, worse, self.labels.get(int(label_id)), int(label_id), track_id)
                    self.added.setdefault(position, []).append(item)
            self._seen[track_id] = _Seen(self.position, box, float(score))
        oldest = self.position - self._max_gap - 1
        self._seen = {key: seen for key, seen in self._seen.items() if seen.position >= oldest}


@dataclass(frozen=True)
class _Columns:
    """All detections of some rows, one after the other."""

    boxes: Floats = field(repr=False)
    scores: Floats = field(repr=False)
    label_ids: Ids = field(repr=False)
    labels: list[str] = field(repr=False)


def _counts(rows: pa.Table) -> list[int]:
    return [count or 0 for count in pc.list_value_length(rows.column("detections")).to_pylist()]


def _columns(rows: pa.Table) -> _Columns:
    values = rows.column("detections").combine_chunks().flatten()
    boxes = values.field("box").flatten().to_numpy(zero_copy_only=False).reshape(-1, 4).astype(np.float64)
    return _Columns(
        boxes,
        values.field("score").to_numpy(zero_copy_only=False).astype(np.float64),
        values.field("label_id").to_numpy(zero_copy_only=False).astype(np.int64),
        values.field("label").to_pylist(),
    )


def with_tracks(rows: pa.Table, ids: list[Ids], added: list[list[Added]] | None = None) -> pa.Table:
    """Rows with `track_id` in each detection, null where it has none.

    Args:
        rows: of `jobs.schemas.result_schema`.
        ids: of each row's detections, -1 where untracked.
        added: what interpolation adds behind each row's detections; `interpolated` then tells which they are.
    """
    column = rows.column("detections").combine_chunks()
    values = column.flatten()
    kind = values.type
    all_ids = np.concatenate(ids) if ids else np.zeros(0, np.int64)
    names = [kind.field(i).name for i in range(kind.num_fields)]
    arrays = {name: values.field(name) for name in names}
    arrays["track_id"] = pa.array(all_ids, pa.int64(), mask=all_ids == UNTRACKED)
    at = names.index("score") + 1
    order = [*names[:at], "track_id", *names[at:]]
    if added is not None:
        arrays["interpolated"] = pa.array(np.zeros(len(all_ids), bool))
        order.append("interpolated")
    tracked = pa.StructArray.from_arrays([arrays[name] for name in order], names=order)
    counts = np.array([len(each) for each in ids], dtype=np.int64)
    if added is not None:
        tracked, counts = _with_added(tracked, counts, added)
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
    absent = pa.array(column.is_null().to_numpy(zero_copy_only=False) & (counts == 0), pa.bool_())
    detections = pa.ListArray.from_arrays(offsets, tracked, mask=absent)
    place = rows.schema.get_field_index("detections")
    return rows.set_column(place, pa.field("detections", detections.type), detections)


def _with_added(
    tracked: pa.StructArray, counts: npt.NDArray[np.int64], added: list[list[Added]]
) -> tuple[pa.StructArray, npt.NDArray[np.int64]]:
    """Put each row's added boxes behind its detections."""
    items = [item for row in added for item in row]
    extra = pa.array(
        [
            {
                "box": item.box.tolist(),
                "label": item.label,
                "label_id": item.label_id,
                "score": item.score,
                "track_id": item.track_id,
                "interpolated": True,
            }
            for item in items
        ],
        tracked.type,
    )
    num_added = np.array([len(row) for row in added], dtype=np.int64)
    rows = np.arange(len(counts))
    row_of = np.concatenate([np.repeat(rows, counts), np.repeat(rows, num_added)])
    order = np.argsort(row_of, kind="stable")
    return pa.concat_arrays([tracked, extra]).take(pa.array(order)), counts + num_added
