"""Planning 1 and 10 million listed objects: seconds and peak memory of a fresh driver.

    python benchmarks/plan.py [--objects 1000000 10000000] [--json]

Each size runs in a process of its own: objects are listed (made up as they are asked for), selected, encoded,
planned and stored, and every unit's inputs are handed out as workers get them. The driver's Ray Data objects
are built for as many units, without running them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import Any

from common import Claim, argument_parser, peak_rss_bytes, report

ROOT = "s3://fleet-camera-archive/plant-7/"
CANVAS_BYTES = 320 * 320 * 3
MAX_GIB = 2.0
MAX_S = 600.0
MAX_GROWTH = 1.25


def main() -> None:
    """Run each size in a fresh process and compare."""
    parser = argument_parser("plan", __doc__)
    parser.add_argument("--objects", type=int, nargs=2, default=[1_000_000, 10_000_000])
    parser.add_argument("--child", type=int, help="internal: plan so many objects in this process")
    asked = parser.parse_args()
    if asked.child:
        sys.stdout.write(json.dumps(plan_objects(asked.child)))
        return
    small, large = (_in_fresh_process(count) for count in sorted(asked.objects))
    growth = (large["seconds"] / large["objects"]) / (small["seconds"] / small["objects"])
    claims = [
        Claim(
            f"memory of the driver that plans {large['objects']:,} inputs",
            f"under {MAX_GIB:g} GiB",
            f"{large['peak_gib']:.2f} GiB ({small['objects']:,}: {small['peak_gib']:.2f} GiB)",
            large["peak_gib"] < MAX_GIB,
        ),
        Claim(
            f"time to plan {large['objects']:,} inputs and hand them all out",
            "minutes",
            f"{large['seconds']:.0f} s",
            large["seconds"] < MAX_S,
        ),
        Claim(
            f"time an input, {large['objects']:,} to {small['objects']:,}",
            f"linear: at most {MAX_GROWTH}",
            f"{growth:.2f}",
            growth <= MAX_GROWTH,
        ),
    ]
    report("plan", claims, {"runs": [small, large]}, asked.json)


def _in_fresh_process(count: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", str(count)]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def plan_objects(count: int) -> dict[str, Any]:
    """Plan `count` objects as a driver does; seconds of each step, and this process's peak memory."""
    from jobs.pinned import PinnedInputs
    from jobs.plan import Plan, choose_images_per_unit, choose_units_per_file, select_inputs
    from jobs.spec import SourceSection
    from jobs.storage import open_store

    clock = _Steps()
    inputs = select_inputs(listed(count), SourceSection(uri=ROOT)).inputs
    clock.done("list, select and encode")
    per_unit = choose_images_per_unit(count, CANVAS_BYTES)
    plan = Plan("benchmark", inputs, per_unit, choose_units_per_file(-(-count // per_unit)))
    with tempfile.TemporaryDirectory() as folder:
        uri = str(Path(folder) / "plan.parquet")
        open_store(uri).create(uri, plan.inputs.parquet.to_pybytes(), writer="benchmark")
        stored = PinnedInputs.from_parquet(open_store(uri).read(uri))
    clock.done("store and load")
    handed_out = 0
    for unit in range(plan.num_units):
        start, rows = plan.unit_rows(unit)
        handed_out += len(stored.rows(range(start, start + rows)).to_pylist())
    assert handed_out == count, f"{handed_out} inputs were handed out of {count}"
    del stored
    clock.done("hand out")
    _build_dataset(plan)
    clock.done("build the dataset")
    return {
        "objects": count,
        "units": plan.num_units,
        "files": plan.num_files,
        "plan_bytes": plan.inputs.parquet.size,
        "peak_gib": peak_rss_bytes() / 2**30,
        "seconds": clock.seconds("list, select and encode", "store and load", "hand out"),
        "steps": clock.steps,
    }


class _Steps:
    def __init__(self) -> None:
        self.steps: dict[str, float] = {}
        self._last = time.perf_counter()

    def done(self, name: str) -> None:
        now = time.perf_counter()
        self.steps[name], self._last = round(now - self._last, 2), now

    def seconds(self, *names: str) -> float:
        return round(sum(self.steps[name] for name in names), 2)


def listed(count: int) -> Iterator[Any]:
    """Made-up objects in byte order of location, of about 90 characters, with ETags as S3 makes them."""
    from jobs.storage import ObjectInfo

    for i in range(count):
        line, hour, camera = i // 1_000_000, i // 20_000 % 50, i // 2_000 % 10
        digest = md5(i.to_bytes(8), usedforsecurity=False).hexdigest()
        name = f"line-{line:03d}/hour-{hour:02d}/cam-{camera:02d}/frame-{i:010d}-{digest[:8]}.jpg"
        yield ObjectInfo(ROOT + name, digest, 100_000 + i % 400_000)


def _build_dataset(plan: Any) -> None:
    """What the driver holds of a pipeline before it runs: the stored plan, and a row for each unit."""
    import ray

    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    reference = ray.put(plan)
    rows = [{"unit": unit} for unit in range(plan.num_units)]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    assert dataset.count() == plan.num_units
    del reference
    ray.shutdown()


if __name__ == "__main__":
    main()
