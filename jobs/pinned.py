"""A job's pinned inputs, kept as Parquet in memory: about 30 bytes an input, read a row group at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby, islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.schemas import PLAN_SCHEMA
from jobs.storage import ObjectInfo

GROUP_ROWS = 4096  # a multiple of the largest unit, so that few units lie across two groups
GROUP_SEGMENTS = 256
DIGEST_KEY = "veedor.inputs_sha256"
IMAGES_KEY = "veedor.num_images"
# Frames follow each other at nearly equal distances: almost nothing is left of them as differences.
_DELTA = {f"{name}.list.element": "DELTA_BINARY_PACKED" for name in ("frame_indices", "pts")}


@dataclass(frozen=True, slots=True)
class PinnedSegment:
    """A segment of a video: the frames, in order, that one unit decodes; or why the video cannot be planned.

    Attributes:
        video: the pinned object.
        stream: of the container.
        time_base: seconds of one tick of `pts`, as a fraction (`1/12800`).
        frame_indices: among all frames of the stream, from 0.
        pts: presentation timestamps, ticks.
        error_code, error: set instead of the others, for a video that gives one failed row.
    """

    video: ObjectInfo
    stream: int | None = None
    time_base: str | None = None
    frame_indices: Sequence[int] | None = None
    pts: Sequence[int] | None = None
    error_code: str | None = None
    error: str | None = None

    @property
    def row(self) -> dict[str, Any]:
        """As `jobs.schemas.PLAN_SCHEMA` has it."""
        names = ("stream", "time_base", "frame_indices", "pts", "error_code", "error")
        pinned = {"uri": self.video.uri, "etag": self.video.etag, "size": self.video.size}
        return pinned | {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class PinnedInputs:
    """Images in byte order of location, then segments of videos, in order.

    Attributes:
        digest: SHA-256, hexadecimal, of all locations, versions, sizes and frames in order: the inputs' name.
        num_rows: how many images and segments there are.
        num_images: how many of them are images.
        parquet: `jobs.schemas.PLAN_SCHEMA` as a Parquet file; Ray hands it on without a copy.
    """

    digest: str
    num_rows: int
    num_images: int
    parquet: pa.Buffer = field(compare=False, repr=False)

    @classmethod
    def from_parquet(cls, body: bytes) -> PinnedInputs:
        """Open what `parquet` held.

        Raises:
            ValueError: if it is not that.
        """
        parquet = pa.py_buffer(body)
        metadata = pq.read_metadata(pa.BufferReader(parquet))
        stored = metadata.metadata or {}
        if DIGEST_KEY.encode() not in stored or IMAGES_KEY.encode() not in stored:
            raise ValueError(f"there is no {DIGEST_KEY} in its metadata")
        num_images = int(stored[IMAGES_KEY.encode()])
        return cls(stored[DIGEST_KEY.encode()].decode(), metadata.num_rows, num_images, parquet)

    def rows(self, numbers: Sequence[int]) -> pa.Table:
        """Rows by number, in the order asked for: `jobs.schemas.PLAN_SCHEMA`."""
        starts = _group_starts(self)
        groups = groupby(numbers, key=lambda row: int(np.searchsorted(starts[:-1], row, side="right")) - 1)
        found = [_read_group(self, g).take([row - int(starts[g]) for row in inside]) for g, inside in groups]
        return pa.concat_tables(found) if found else PLAN_SCHEMA.empty_table()

    def num_frames(self, row: int) -> int:
        """How many result rows a row of the plan gives: 1, or the frames of a segment."""
        return 1 if row < self.num_images else int(_segment_frames(self)[row - self.num_images])

    def segment_videos(self) -> Iterator[tuple[str, str]]:
        """Location and version of each segment's video, in order."""
        file = pq.ParquetFile(pa.BufferReader(self.parquet), metadata=_metadata(self))
        for group in _segment_groups(self):
            rows = file.read_row_group(group, columns=["uri", "etag"], use_threads=False)
            yield from zip(rows.column("uri").to_pylist(), rows.column("etag").to_pylist(), strict=True)

    @property
    def num_results(self) -> int:
        """How many result rows all give."""
        return self.num_images + (int(_segment_frames(self).sum()) if self.num_rows > self.num_images else 0)


def pin_inputs(listed: Iterable[ObjectInfo]) -> PinnedInputs:
    """Encode images as they are listed; memory holds one row group beside what is encoded."""
    digest, num_rows, sink = hashlib.sha256(), 0, pa.BufferOutputStream()
    with _writer(sink) as writer:
        rest = iter(listed)
        while infos := list(islice(rest, GROUP_ROWS)):
            lines = "".join(f"{info.uri}\0{info.etag}\0{info.size}\n" for info in infos)
            digest.update(lines.encode(errors="surrogatepass"))
            columns = [[i.uri for i in infos], [i.etag for i in infos], [i.size for i in infos]]
            absent = [pa.nulls(len(infos), each.type) for each in PLAN_SCHEMA][len(columns) :]
            batch = pa.record_batch([*columns, *absent], schema=PLAN_SCHEMA)
            writer.write_batch(batch, row_group_size=GROUP_ROWS)
            num_rows += len(infos)
        _finish(writer, digest.hexdigest(), num_rows)
    return PinnedInputs(digest.hexdigest(), num_rows, num_rows, sink.getvalue())


def pin_segments(images: PinnedInputs, segments: Iterable[PinnedSegment]) -> PinnedInputs:
    """Images with segments behind them; memory holds one row group beside what is encoded."""
    digest, num_rows, sink = hashlib.sha256(images.digest.encode()), images.num_rows, pa.BufferOutputStream()
    with _writer(sink) as writer:
        for group in range(len(_group_starts(images)) - 1):
            writer.write_table(_read_group(images, group), row_group_size=GROUP_ROWS)
        rest = iter(segments)
        while rows := [segment.row for segment in islice(rest, GROUP_SEGMENTS)]:
            digest.update("".join(f"{list(row.values())}\n" for row in rows).encode(errors="surrogatepass"))
            writer.write_batch(
                pa.RecordBatch.from_pylist(rows, schema=PLAN_SCHEMA), row_group_size=GROUP_SEGMENTS
            )
            num_rows += len(rows)
        _finish(writer, digest.hexdigest(), images.num_rows)
    return PinnedInputs(digest.hexdigest(), num_rows, images.num_rows, sink.getvalue())


def _writer(sink: pa.BufferOutputStream) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        sink,
        PLAN_SCHEMA,
        compression="zstd",
        use_dictionary=False,
        write_statistics=False,
        column_encoding=_DELTA,
    )


def _finish(writer: pq.ParquetWriter, digest: str, num_images: int) -> None:
    writer.add_key_value_metadata({DIGEST_KEY: digest, IMAGES_KEY: str(num_images)})


@lru_cache(maxsize=1)
def _metadata(inputs: PinnedInputs) -> pq.FileMetaData:
    return pq.read_metadata(pa.BufferReader(inputs.parquet))


@lru_cache(maxsize=1)
def _group_starts(inputs: PinnedInputs) -> npt.NDArray[np.int64]:
    """First row of each row group, and behind them the number of rows."""
    metadata = _metadata(inputs)
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


@lru_cache(maxsize=2)
def _read_group(inputs: PinnedInputs, group: int) -> pa.Table:
    """One row group; a process works on neighbouring units, which mostly share one."""
    file = pq.ParquetFile(pa.BufferReader(inputs.parquet), metadata=_metadata(inputs))
    return file.read_row_group(group, use_threads=False).cast(PLAN_SCHEMA)


@lru_cache(maxsize=1)
def _segment_frames(inputs: PinnedInputs) -> npt.NDArray[np.int64]:
    """Frames of each segment; a video that cannot be planned counts as one."""
    return np.fromiter(_each_segment_frames(inputs), np.int64)


def _each_segment_frames(inputs: PinnedInputs) -> Iterator[int]:
    file = pq.ParquetFile(pa.BufferReader(inputs.parquet), metadata=_metadata(inputs))
    for group in _segment_groups(inputs):
        frames = file.read_row_group(group, columns=["pts"], use_threads=False).column("pts")
        yield from (1 if each is None else each for each in pc.list_value_length(frames).to_pylist())


def _segment_groups(inputs: PinnedInputs) -> range:
    starts = _group_starts(inputs)
    first = int(np.searchsorted(starts, inputs.num_images)) if inputs.num_images else 0
    return range(first, len(starts) - 1)
