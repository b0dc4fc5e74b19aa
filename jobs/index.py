"""Indexes of embeddings: a segment for each run, beside each other, so that adding rebuilds nothing.

<index>/index.json                      the model that the vectors are of; created once
<index>/segments/<job>/vectors.faiss    the vectors of one run
<index>/segments/<job>/items.parquet    what each is of: uri, etag, frame_index
<index>/_veedor/segments/<job>          created last: the segment counts from then on
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cvcore.errors import SpecError
from cvcore.retrieve.vectors import VectorIndex, normalized
from jobs.run_folder import JobRecord, RunFolder, new_writer, read_job
from jobs.run_rows import iter_tables, vectors_of
from jobs.storage import Access, ObjectMissing, Store, join, open_store, resolve_location

FORMAT = 1
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Segment:
    """The vectors of one run and what they are of."""

    job_id: str
    vectors: VectorIndex = field(repr=False)
    items: pa.Table = field(repr=False)


@dataclass(frozen=True)
class Hit:
    """One answer: `similarity` is the cosine, 1 for the same direction."""

    uri: str
    etag: str
    frame_index: int | None
    similarity: float


@dataclass(frozen=True)
class Index:
    """An opened index."""

    uri: str
    model: dict[str, Any]
    segments: tuple[Segment, ...]

    def __len__(self) -> int:
        return sum(len(segment.vectors) for segment in self.segments)

    def all_vectors(self) -> tuple[Vectors, list[str]]:
        """Every vector, (N, D), normalised, and where what each is of lies."""
        parts, uris = [], []
        for segment in self.segments:
            parts.append(segment.vectors.vectors())
            uris += segment.items.column("uri").to_pylist()
        return normalized(np.concatenate(parts)), uris

    def search(self, vectors: Vectors, k: int) -> list[list[Hit]]:
        """The `k` nearest of each vector, (Q, D), over all segments, best first."""
        found: list[list[Hit]] = [[] for _ in vectors]
        for segment in self.segments:
            similarities, positions = segment.vectors.search(vectors, min(k, len(segment.vectors)))
            for hits, row, places in zip(found, similarities, positions, strict=True):
                hits += _hits(segment, row, places)
        return [sorted(hits, key=lambda hit: (-hit.similarity, hit.uri))[:k] for hits in found]


def _hits(segment: Segment, similarities: Vectors, places: npt.NDArray[np.int64]) -> Iterator[Hit]:
    present = places >= 0
    rows = segment.items.take(pa.array(places[present])).to_pylist()
    for row, similarity in zip(rows, similarities[present].tolist(), strict=True):
        yield Hit(row["uri"], row["etag"], row["frame_index"], similarity)


def add_to_index(run_uri: str, index_uri: str, *, access: Access) -> tuple[int, bool]:
    """Index the embeddings of a finished run; returns how many, and whether they were added now.

    Doing so twice adds nothing.

    Raises:
        SpecError: for a run without embeddings, one that is not finished, or one of another model.
    """
    folder = RunFolder(resolve_location(run_uri).rstrip("/"))
    source = open_store(folder.uri, access)
    record = read_job(folder, source)
    if record is None or not source.exists(folder.success):
        raise SpecError(f"{folder.uri} is no finished run: name the --out of veedor embed")
    root = resolve_location(index_uri).rstrip("/")
    store = open_store(root, access)
    _claim(root, record, store)
    mark = join(root, "_veedor", "segments", record.job_id)
    if store.exists(mark):
        return int(store.read(mark)), False
    vectors, items = _read_embeddings(folder, source)
    segment = join(root, "segments", record.job_id)
    buffer = io.BytesIO()
    pq.write_table(items, buffer, compression="zstd")
    store.put(join(segment, "items.parquet"), buffer.getvalue())
    store.put(join(segment, "vectors.faiss"), VectorIndex.build(vectors).to_bytes())
    store.create(mark, str(len(vectors)).encode(), writer=new_writer())
    return len(vectors), True


def _claim(root: str, record: JobRecord, store: Store) -> None:
    """Make the folder an index of the run's model, or check that it is one."""
    about = {
        "format": FORMAT,
        "model": record.spec["model"],
        "weights_sha256": record.model["digests"]["weights"],
    }
    uri = join(root, "index.json")
    if store.create(uri, json.dumps(about, sort_keys=True).encode(), writer=new_writer()) != "exists":
        return
    standing = json.loads(store.read(uri))
    if standing["weights_sha256"] != about["weights_sha256"]:
        raise SpecError(
            f"{root} is an index of another model ({standing['model']['name']}): vectors of different models "
            "cannot be compared; name another folder"
        )


def _read_embeddings(folder: RunFolder, store: Store) -> tuple[Vectors, pa.Table]:
    vectors, items = [], []
    for table in iter_tables(folder, store, ("uri", "etag", "frame_index", "status", "embedding")):
        usable = table.filter(pc.equal(table.column("status"), "ok"))
        found = vectors_of(usable)
        if found is None:
            raise SpecError(f"{folder.uri} holds no embeddings: name the --out of veedor embed")
        vectors.append(found)
        items.append(usable.select(["uri", "etag", "frame_index"]))
    if not sum(map(len, vectors)):
        raise SpecError(f"{folder.uri} has no input with an embedding: all of them failed")
    return np.concatenate(vectors), pa.concat_tables(items)


def open_index(index_uri: str, *, access: Access) -> Index:
    """Read an index into memory, from a folder or a bucket.

    Raises:
        SpecError: if it is none.
    """
    root = resolve_location(index_uri).rstrip("/")
    store = open_store(root, access)
    try:
        about = json.loads(store.read(join(root, "index.json")))
    except ObjectMissing as error:
        raise SpecError(f"{root} is no index: make one with veedor index RUN --out {root}") from error
    names = store.list_names(join(root, "_veedor", "segments"))
    if not names:
        raise SpecError(f"{root} is an index without vectors: run veedor index again")
    segments = []
    for name in names:
        folder = join(root, "segments", name)
        items = pq.read_table(pa.BufferReader(store.read(join(folder, "items.parquet"))))
        segments.append(
            Segment(name, VectorIndex.from_bytes(store.read(join(folder, "vectors.faiss"))), items)
        )
    return Index(root, about, tuple(segments))
