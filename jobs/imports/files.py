"""The files of corrections beside a run, `corrections/<n>.parquet`: made whole, never changed."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.run_folder import RunFolder, new_writer
from jobs.schemas import MASK_TYPE
from jobs.storage import Store, join

_NAME = re.compile(r"^(\d{6,})\.parquet$")

CORRECTION_SCHEMA = pa.schema(
    [
        pa.field("import", pa.int32(), nullable=False),
        pa.field("made", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("who", pa.string(), nullable=False),
        pa.field("tool", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("frame_index", pa.int32()),
        pa.field("number", pa.int32()),
        pa.field("action", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        *(pa.field(name, pa.float64()) for name in ("x0", "y0", "x1", "y1")),
        pa.field("track_id", pa.int64()),
        pa.field("mask", MASK_TYPE),
    ]
)


def publish_corrections(folder: RunFolder, store: Store, rows: Callable[[], list[dict[str, Any]]]) -> str:
    """Create the next file; returns where it is.

    Another import that runs at the same time takes another number.

    Args:
        folder: of the run.
        store: that holds it.
        rows: what the file says, without `import`; called again when another one came first, so that what
            it says can follow from all before it.
    """
    while True:
        number = _last_number(folder, store) + 1
        numbered = [row | {"import": number} for row in rows()]
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(numbered, schema=CORRECTION_SCHEMA), buffer, compression="zstd")
        where = join(folder.corrections, f"{number:06d}.parquet")
        if store.create(where, buffer.getvalue(), writer=new_writer()) != "exists":
            return where


def _last_number(folder: RunFolder, store: Store) -> int:
    names = store.list_names(folder.corrections)
    return max((int(found[1]) for name in names if (found := _NAME.match(name))), default=0)
