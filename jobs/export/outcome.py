"""What an export comes to, and what it says of inputs that failed."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from jobs.export.rows import ExportRow

FAILURES = "failures.csv"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: `looked_at` images, of which `empty` hold nothing, and how many were not.

    `left_out` images are those that were decided, or that were not, as asked for. `losses` says what the
    format could not hold, and how often it was there.
    """

    uri: str
    format: str
    looked_at: int
    empty: int
    failed: int
    not_looked_at: int
    detections: int
    left_out: int
    losses: Mapping[str, int]


@contextmanager
def open_failures(folder: Path) -> Iterator[Failures]:
    """A new table of failures in an export's folder."""
    with (folder / FAILURES).open("w", encoding="utf-8", newline="") as file:
        yield Failures(file)


class Failures:
    """The table of inputs that failed."""

    def __init__(self, file: TextIO) -> None:
        self._table = csv.writer(file, lineterminator="\n")
        self._table.writerow(("uri", "frame_index", "status", "error_code", "error"))

    def add(self, row: ExportRow) -> None:
        self._table.writerow((row.uri, row.frame_index, row.status, row.error_code, row.error))
