"""The table of tracks: single videos' tracks, as they are published, become one file."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cvcore.track.summary import TrackSummary
from jobs.run_folder import RunFolder
from jobs.schemas import TRACK_SCHEMA
from jobs.storage import Store, join


def track_rows(uri: str, summaries: list[TrackSummary], labels: dict[int, str]) -> pa.Table:
    """Tracks of one video as `jobs.schemas.TRACK_SCHEMA`, in the order of their ids."""
    return pa.Table.from_pylist(
        [
            {
                "uri": uri,
                "track_id": each.track_id,
                "label": labels.get(each.label_id),
                "label_id": each.label_id,
                "first_frame": each.first_frame,
                "last_frame": each.last_frame,
                "first_s": each.first_s,
                "last_s": each.last_s,
                "length": each.length,
                "mean_score": each.mean_score,
                "path": [{"frame_index": frame, "x": x, "y": y} for frame, x, y in each.path],
            }
            for each in summaries
        ],
        schema=TRACK_SCHEMA,
    )


def encode_tracks(table: pa.Table) -> bytes:
    """As zstd Parquet; the same tracks give the same bytes."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def write_track_table(folder: RunFolder, store: Store, *, writer: str) -> dict[str, int]:
    """Create `tracks.parquet` from the parts, in the order of the videos, unless it stands.

    Returns how many `tracks` there are, and how many detections are `tracked`.
    """
    if not store.exists(folder.tracks):
        buffer = io.BytesIO()
        with pq.ParquetWriter(buffer, TRACK_SCHEMA, compression="zstd") as file:
            for name in store.list_names(folder.track_parts):
                file.write_table(pq.read_table(pa.BufferReader(store.read(join(folder.track_parts, name)))))
        store.create(folder.tracks, buffer.getvalue(), writer=writer)
    lengths = pq.read_table(pa.BufferReader(store.read(folder.tracks)), columns=["length"]).column("length")
    return {"tracks": len(lengths), "tracked": pc.sum(lengths).as_py() or 0}


def remove_track_parts(folder: RunFolder, store: Store) -> None:
    """Delete the tracks of single videos: once the job is done, the table holds them."""
    for name in store.list_names(folder.track_parts):
        store.delete(join(folder.track_parts, name))
