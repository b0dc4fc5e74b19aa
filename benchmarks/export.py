"""Exporting a run of a million detections to COCO and YOLO, beside Datumaro's own writers.

    python benchmarks/export.py [--images 100000] [--each 10] [--json]

The run is written first; each export is a process of its own, whose time and peak memory count. Datumaro is
given the same boxes as objects in memory, and only its writing is timed: reading the run is for free there.
It is one of the references that `make setup` installs beside the environment.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from common import Claim, argument_parser, peak_rss_bytes, report

from jobs.schemas import result_schema
from jobs.sink import encode_part, part_metadata

MAX_BYTES = 2**30
ROWS_PER_PART = 10_000
SIZE = (1920, 1080)
FORMATS = ("coco", "yolo")
REFERENCES = Path(os.environ.get("VEEDOR_REFERENCES", Path(sys.prefix) / "references"))


def write_run(folder: Path, num_images: int, each: int) -> None:
    """A finished run of that many images, as a job leaves it."""
    from tests.exchange import LABELS, job_record

    record = job_record(folder, num_inputs=num_images)
    run = folder / "run"
    (run / "_veedor").mkdir(parents=True)
    (run / "data").mkdir()
    (run / "_veedor" / "job.json").write_text(json.dumps(asdict(record)))
    rng = np.random.default_rng(0)
    schema = result_schema(masks=False)
    for part, start in enumerate(range(0, num_images, ROWS_PER_PART)):
        num = min(ROWS_PER_PART, num_images - start)
        corners = np.sort(rng.uniform(0, 1, (num * each, 2, 2)), axis=1).reshape(-1, 4)
        boxes = (corners * np.array([*SIZE, *SIZE])).astype(np.float32)
        ids = rng.integers(0, len(LABELS), num * each).astype(np.int32)
        values = pa.StructArray.from_arrays(
            [
                pa.FixedSizeListArray.from_arrays(pa.array(boxes.reshape(-1)), 4),
                pa.array([LABELS[k] for k in ids]),
                pa.array(ids),
                pa.array(rng.uniform(0, 1, num * each).astype(np.float32)),
            ],
            fields=list(schema.field("detections").type.value_type),
        )
        columns: dict[str, Any] = dict.fromkeys(schema.names, pa.nulls(num))
        columns["uri"] = [f"{folder}/images/{k // 1000:04d}/{k:07d}.jpg" for k in range(start, start + num)]
        columns |= {"etag": ["e"] * num, "status": ["ok"] * num}
        columns |= {"width": [SIZE[0]] * num, "height": [SIZE[1]] * num}
        columns["detections"] = pa.ListArray.from_arrays(np.arange(num + 1, dtype=np.int32) * each, values)
        arrays = [
            column.cast(field.type) if isinstance(column, pa.Array) else pa.array(column, field.type)
            for field, column in ((field, columns[field.name]) for field in schema)
        ]
        body = encode_part(pa.Table.from_arrays(arrays, schema=schema), part_metadata(record))
        (run / "data" / f"part-{part:05d}.parquet").write_bytes(body)
    (run / "_SUCCESS.json").write_text("{}")


def export_ours(folder: Path, to: str) -> tuple[float, float]:
    """Seconds, and seconds of the processor."""
    from jobs.export.export import export_run
    from jobs.storage import Access

    start, cpu_start = time.perf_counter(), time.process_time()
    export_run(str(folder / "run"), to=to, out=str(folder / f"ours-{to}"), access=Access())
    return time.perf_counter() - start, time.process_time() - cpu_start


def export_datumaro(folder: Path, to: str) -> tuple[float, float]:
    """The same of writing alone."""
    sys.path.append(str(REFERENCES))
    import datumaro as dm

    from jobs.export.rows import Choice, iter_rows
    from jobs.storage import open_store
    from tests.exchange import LABELS

    parts = [str(path) for path in sorted((folder / "run" / "data").iterdir())]
    source = str(folder / "images")
    items = []
    for row in iter_rows(parts, open_store(parts[0]), source=source, choice=Choice()):
        boxes = [
            dm.Bbox(
                f.box[0], f.box[1], f.box[2] - f.box[0], f.box[3] - f.box[1], label=f.label_id, id=f.ordinal
            )
            for f in row.found or ()
        ]
        image = dm.Image.from_file(path=row.uri, size=(SIZE[1], SIZE[0]))
        items.append(dm.DatasetItem(id=row.name[:-4], subset="train", media=image, annotations=boxes))
    dataset = dm.Dataset.from_iterable(items, categories=list(LABELS))
    name = {"coco": "coco_instances", "yolo": "yolo"}[to]
    start, cpu_start = time.perf_counter(), time.process_time()
    dataset.export(str(folder / f"datumaro-{to}"), name, save_media=False)
    return time.perf_counter() - start, time.process_time() - cpu_start


ROLES: dict[str, Callable[[Path, str], tuple[float, float]]] = {
    "ours": export_ours,
    "datumaro": export_datumaro,
}


def measure(folder: Path, role: str, to: str) -> dict[str, float]:
    """Run one export in a process of its own."""
    command = [sys.executable, __file__, "--role", role, "--format", to, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    shutil.rmtree(folder / f"{role}-{to}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _in_this_process(arguments: argparse.Namespace) -> None:
    seconds, cpu_seconds = ROLES[arguments.role](arguments.folder, arguments.format)
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": peak_rss_bytes()}))


def main() -> None:
    parser = argument_parser("export", __doc__ or "")
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--each", type=int, default=10, help="detections an image")
    parser.add_argument("--role", choices=ROLES, help="do one export in this process")
    parser.add_argument("--format", choices=FORMATS, default="coco")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.role:
        _in_this_process(arguments)
        return
    total = arguments.images * arguments.each
    claims, details = [], {}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_run(folder, arguments.images, arguments.each)
        for to in FORMATS:
            ours, theirs = (measure(folder, role, to) for role in ROLES)
            details[to] = {"ours": ours, "datumaro": theirs}
            peak = ours["peak_bytes"]
            claims.append(
                Claim(
                    f"peak memory of exporting {total:,} detections to {to}",
                    "under 1 GiB",
                    f"{peak / 2**20:,.0f} MiB (Datumaro {theirs['peak_bytes'] / 2**20:,.0f} MiB)",
                    peak < MAX_BYTES,
                )
            )
            claims.append(
                Claim(
                    f"time of exporting {total:,} detections to {to}, reading included",
                    "less than Datumaro's writing alone",
                    f"{ours['seconds']:.1f} s (Datumaro {theirs['seconds']:.1f} s)",
                    ours["seconds"] < theirs["seconds"],
                )
            )
    report("export", claims, details, arguments.json)


if __name__ == "__main__":
    main()
