"""The end of a run: merge what is complete, check everything against the plan, create `_SUCCESS.json`."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import ray

from jobs.plan import Plan
from jobs.progress import Listener
from jobs.run_folder import JobRecord, RunFolder, part_name, published_numbers
from jobs.sink import (
    PartSummary,
    file_rows,
    merge_file,
    part_metadata,
    read_summary,
    remove_parts,
    success_manifest,
)
from jobs.stages.decode import process_store
from jobs.storage import Access, Store, is_s3

CHECK_THREADS = 16


@dataclass
class FileMerger:
    """Merges each file's units on the cluster as soon as all of them are published.

    Does nothing where a file holds one unit: that unit was published in place.
    """

    folder: RunFolder
    plan: Plan
    plan_ref: Any
    record: JobRecord
    access: Access
    writer: str
    published: set[int]
    num_cpus: float
    _started: dict[int, Any] = field(default_factory=dict)

    def add(self, unit: int) -> None:
        """Note a published unit; start its file's merge if it was the last one missing."""
        self.published.add(unit)
        if self.plan.units_per_file > 1:
            self._start(unit // self.plan.units_per_file)

    def finish(self, store: Store) -> dict[int, PartSummary]:
        """Start what earlier runs left unmerged, wait for all, and return the files' summaries."""
        if self.plan.units_per_file == 1:
            return {}
        merged = published_numbers(self.folder.data, store)
        for file in range(self.plan.num_files):
            if file not in merged:
                self._start(file)
        return {file: PartSummary(**ray.get(ref)) for file, ref in self._started.items()}

    def _start(self, file: int) -> None:
        units = self.plan.units_of_file(file)
        if file not in self._started and self.published.issuperset(units):
            arguments = (self.folder, self.plan_ref, file, self.record, self.access, self.writer)
            self._started[file] = self._merge_task.remote(*arguments)

    @cached_property
    def _merge_task(self) -> Any:
        # Made once: Ray exports each remote function that it is given.
        return ray.remote(num_cpus=self.num_cpus, max_retries=2)(_merge)


def _merge(
    folder: RunFolder, plan: Plan, file: int, record: JobRecord, access: Access, writer: str
) -> dict[str, Any]:
    store = process_store(is_s3(folder.uri), access)
    metadata = part_metadata(record)
    return vars(merge_file(store, folder, plan, file, metadata=metadata, writer=writer))


def finish_job(
    folder: RunFolder,
    store: Store,
    plan: Plan,
    record: JobRecord,
    known: dict[int, PartSummary],
    *,
    writer: str,
    listener: Listener,
    more: dict[str, int] | None = None,
) -> dict[str, Any]:
    """Check every file and create `_SUCCESS.json`; returns its content.

    Args:
        known: summaries of the files that this run wrote itself; the others are read back.
        more: counts that the job adds to those of its rows.

    Raises:
        StorageError: if a file is missing, unreadable or has the wrong rows.
    """

    def check(file: int) -> PartSummary:
        return known.get(file) or read_summary(store, folder.file(file), file, rows=file_rows(plan, file))

    with ThreadPoolExecutor(CHECK_THREADS) as pool:
        summaries = list(pool.map(check, range(plan.num_files)))
    manifest = success_manifest(record, summaries, names=[part_name(f) for f in range(plan.num_files)])
    manifest["counts"] |= more or {}
    body = json.dumps(manifest, indent=1).encode()
    if store.create(folder.success, body, writer=writer) != "created":
        listener.step("Another driver had finished this job before; its result stands")
    remove_parts(folder, store, units_per_file=plan.units_per_file)
    standing: dict[str, Any] = json.loads(store.read(folder.success))
    return standing
