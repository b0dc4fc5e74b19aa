"""A map of a run's embeddings: `reduced.parquet` beside it, and a page with pictures in their places.

Of a scan, an embed run, or one scan's folder: what has an `embedding` column.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from cvcore.errors import ImageError, SpecError
from cvcore.image.decode import decode_to_canvas
from cvcore.retrieve.reduce import Method, reduce_vectors
from cvcore.types import InputSpec
from jobs.report.cards import short_name
from jobs.report.map import MapPoint, render_map
from jobs.report.pictures import data_uri, encode_jpeg
from jobs.run_folder import RunFolder, read_job
from jobs.run_rows import iter_tables
from jobs.storage import Access, StorageError, Store, base_name, join, open_store, resolve_location
from jobs.visible import visible

MAX_VECTORS = 20_000
"""More are sampled, by a digest of their locations."""
MAX_PICTURES = 120
THUMB = InputSpec(height=64, width=64)
PICTURE_BYTES = 3_000
NAMES = ("uri", "etag", "frame_index", "status", "embedding")


@dataclass(frozen=True)
class Reduced:
    """What was made of a run.

    Attributes:
        table, page: where they are.
        count, total: vectors on the map, and in the run.
        explained: of PCA, the share of the variance that the map shows.
    """

    table: str
    page: str
    count: int
    total: int
    explained: float | None


def reduce_run(run_uri: str, *, method: Method, access: Access, seed: int = 0) -> Reduced:
    """Make the map of a run.

    Raises:
        SpecError: for a run without embeddings, or with too few.
    """
    folder = RunFolder(resolve_location(run_uri).rstrip("/"))
    store = open_store(folder.uri, access)
    record = read_job(folder, store)
    if record is None:
        raise SpecError(f"{folder.uri} is no run: name the --out of veedor embed")
    rows, total = _sample(folder, store)
    places, explained = reduce_vectors(np.array([row["embedding"] for row in rows]), method, seed=seed)
    table = pa.table(
        {
            "uri": [row["uri"] for row in rows],
            "frame_index": pa.array([row["frame_index"] for row in rows], pa.int32()),
            "x": places[:, 0].astype(np.float32),
            "y": places[:, 1].astype(np.float32),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    where = join(folder.uri, "reduced.parquet")
    store.put(where, buffer.getvalue())
    inputs = open_store(record.source, access)
    points = list(_points(rows, places, inputs))
    page = join(folder.uri, "map.html")
    about = f"{len(rows):,} of {total:,}" if len(rows) < total else f"{total:,}"
    note = "UMAP" if explained is None else f"principal components, {explained:.0%} of the variance"
    html = render_map(title=visible(base_name(folder.uri)), about=f"{about} inputs; {note}", points=points)
    store.put(page, html.encode())
    return Reduced(where, page, len(rows), total, explained)


def _sample(folder: RunFolder, store: Store) -> tuple[list[dict[str, Any]], int]:
    """Rows with an embedding, at most `MAX_VECTORS`, and how many there are."""
    rows: list[dict[str, Any]] = []
    total = 0
    for table in iter_tables(folder, store, NAMES):
        if "embedding" not in table.column_names:
            raise SpecError(f"{folder.uri} holds no embeddings: name the --out of veedor embed")
        usable = table.filter(pc.equal(table.column("status"), "ok")).to_pylist()
        total += len(usable)
        rows += usable
        if len(rows) > 2 * MAX_VECTORS:
            rows = sorted(rows, key=_rank)[:MAX_VECTORS]
    return sorted(rows, key=_rank)[:MAX_VECTORS], total


def _rank(row: dict[str, Any]) -> bytes:
    text = f"{row['uri']}\0{row['frame_index']}".encode(errors="surrogatepass")
    return hashlib.blake2b(text, digest_size=8).digest()


def _points(rows: list[dict[str, Any]], places: npt.NDArray[np.float64], inputs: Store) -> Iterator[MapPoint]:
    low, high = places.min(axis=0), places.max(axis=0)
    shares = (places - low) / np.where(high > low, high - low, 1.0)
    for index, (row, (x, y)) in enumerate(zip(rows, shares.tolist(), strict=True)):
        folder = base_name(row["uri"].rpartition("/")[0])
        picture = _thumbnail(row, inputs) if index < MAX_PICTURES else None
        yield MapPoint(x, 1 - y, short_name(row["uri"]), visible(folder), picture)


def _thumbnail(row: dict[str, Any], inputs: Store) -> str | None:
    """A small picture; None for frames, and for what cannot be read."""
    if row["frame_index"] is not None:
        return None
    try:
        canvas = decode_to_canvas(inputs.read(row["uri"], etag=row["etag"] or None), THUMB).canvas
    except (ImageError, StorageError):
        return None
    return data_uri(encode_jpeg(Image.fromarray(canvas), max_bytes=PICTURE_BYTES), "jpeg")
