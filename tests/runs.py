"""Starting `veedor` as a user does, and reading what it left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.sink import decode_part
from jobs.storage import Access, join, open_store, resolve_location

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 240


def veedor(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end in a process of its own."""
    return subprocess.run(
        veedor_command(*arguments),
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


def veedor_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cluster.cli", *arguments]


def last_event(output: str) -> dict[str, Any]:
    """The last JSON line of `--json` output."""
    event: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return event


def read_rows(run: str, *, access: Access | None = None) -> pa.Table:
    """All rows of a run, sorted by location."""
    uri = resolve_location(run)
    store = open_store(uri, access or Access())
    data = join(uri, "data")
    tables = [decode_part(store.read(join(data, name))) for name in store.list_names(data)]
    return pa.concat_tables(tables).sort_by("uri")


def read_local_rows(run: Path) -> pa.Table:
    """All rows of a local run, as any reader of the folder sees them."""
    return pq.read_table(run / "data").sort_by("uri")
