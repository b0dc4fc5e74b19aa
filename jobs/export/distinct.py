"""Leaving out of a queue what looks like something before it, by the cosine of embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cvcore.errors import SpecError
from jobs.export.queue import Distinct, Entry, Queued
from jobs.query.dataset import parquet_dataset, parquet_schema
from jobs.report.run import Run, read_run
from jobs.storage import Access, Store, open_store, resolve_location

COLUMN = "embedding"
Vectors = npt.NDArray[np.float32]


def first_distinct(vectors: Vectors, *, above: float, limit: int) -> tuple[list[int], list[int]]:
    """Take rows in their order, but none whose cosine with one that was taken is `above` or more.

    Args:
        vectors: (N, D) float32; a row of NaN is like nothing.
        above: cosine from which two are alike.
        limit: of rows that are taken.

    Returns:
        The rows taken, and for each how many were left out that are like it more than any other before them.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = np.nan_to_num(vectors / np.where(lengths > 0, lengths, 1.0))
    kept: list[int] = []
    alike: list[int] = []
    taken = np.zeros((min(limit, len(units)), units.shape[1]), np.float32)
    for row, unit in enumerate(units):
        if len(kept) == limit:
            break
        cosines = taken[: len(kept)] @ unit
        if len(kept) and unit.any() and cosines.max() >= above:
            alike[int(cosines.argmax())] += 1
            continue
        taken[len(kept)] = unit
        kept.append(row)
        alike.append(0)
    return kept, alike


class EmbeddedRun:
    """The embeddings of a run's images, read for some at a time; `num_without` of the last had none."""

    def __init__(self, run: Run, store: Store, size: int) -> None:
        self._run, self._store, self._size = run, store, size
        self.num_without = 0

    def distinct(self, above: float) -> Distinct:
        """Leaves out images whose cosine with an earlier one is `above` or more; those without stay."""

        def distinct(entries: Sequence[Entry], limit: int) -> list[Queued]:
            vectors = self.vectors(entries)
            self.num_without = int(np.isnan(vectors[:, 0]).sum())
            if entries and self.num_without == len(entries):
                raise SpecError(
                    f"{self._run.uri} has an embedding of none of these images: it is of "
                    f"{self._run.record.source}, and images are known by their locations"
                )
            kept, alike = first_distinct(vectors, above=above, limit=limit)
            return [Queued(entries[row], num) for row, num in zip(kept, alike, strict=True)]

        return distinct

    def vectors(self, entries: Sequence[Entry]) -> Vectors:
        """(N, D) float32; NaN for images without one."""
        places = {(entry.uri, entry.frame_index): place for place, entry in enumerate(entries)}
        vectors = np.full((len(entries), self._size), np.nan, np.float32)
        wanted = pa.array(sorted({entry.uri for entry in entries}), pa.string())
        dataset = parquet_dataset(self._run.parts, self._store)
        scanner = dataset.scanner(
            columns=["uri", "frame_index", COLUMN],
            filter=pc.field("uri").isin(wanted) & pc.field(COLUMN).is_valid(),
        )
        for batch in scanner.to_batches():
            frames = pc.fill_null(batch.column("frame_index"), -1).to_pylist()
            found = batch.column(COLUMN).flatten().to_numpy(zero_copy_only=False)
            rows = found.reshape(batch.num_rows, self._size)
            for key, row in zip(zip(batch.column("uri").to_pylist(), frames, strict=True), rows, strict=True):
                if key in places:
                    vectors[places[key]] = row
        return vectors


def open_embeddings(run: Run, embeddings: str | None, *, access: Access) -> EmbeddedRun:
    """The embeddings of an embed run, or of the run itself.

    Raises:
        SpecError: if there are none.
    """
    if embeddings is not None:
        uri = resolve_location(embeddings).rstrip("/")
        run = read_run(uri, open_store(uri, access))
    store = open_store(run.uri, access)
    schema = parquet_schema(run.parts[0], store) if run.parts else pa.schema([])
    if COLUMN not in schema.names:
        raise SpecError(
            f"{run.uri} holds no embeddings: name a run of veedor embed over the same images with "
            "--embeddings"
        )
    return EmbeddedRun(run, store, schema.field(COLUMN).type.list_size)
