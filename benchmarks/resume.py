"""Running a job again: when it is finished, and when half of it is.

    python benchmarks/resume.py [--images 5000] [--json]

All runs are on one cluster that is up. Half of a finished run's files and its `_SUCCESS.json` are removed to
make a half-finished one; what is left to do is compared with a fresh job of the same missing images.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ray
from common import ROOT, Claim, argument_parser, report
from small_jobs import small_job, write_images

from jobs.annotate import run_annotate
from jobs.outcome import RunResult
from jobs.progress import SilentListener
from jobs.spec import AnnotateSpec

MAX_FINISHED_S = 3.0
MAX_EXTRA_S = 3.0


def timed(spec: AnnotateSpec) -> tuple[float, RunResult]:
    """Seconds of a whole run, and what it came to."""
    started = time.perf_counter()
    result = run_annotate(spec, listener=SilentListener())
    return time.perf_counter() - started, result


def command_s(folder: Path) -> float:
    """Seconds of `veedor annotate` on the finished job, from the start of its process."""
    toy = folder / "toy"
    command = [sys.executable, "-m", "cluster.cli", "annotate", str(folder / "in"), "--json"]
    command += ["--out", str(folder / "out"), "--model", str(toy / "toy.cfg"), "--batch-size", "8"]
    command += ["--weights", str(toy / "toy.weights"), "--labels", str(toy / "toy.names")]
    started = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def remove_half(out: Path) -> None:
    """Make a finished run a half-finished one: its later files and its end are gone."""
    parts = sorted((out / "data").iterdir())
    for part in parts[len(parts) // 2 :]:
        part.unlink()
    (out / "_SUCCESS.json").unlink()


def main() -> None:
    """Run the job, run it again finished and half-finished, and compare."""
    parser = argument_parser("resume", __doc__)
    parser.add_argument("--images", type=int, default=5000)
    asked = parser.parse_args()
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for inputs, count in (("warm", 64), ("in", asked.images)):
            write_images(folder / inputs, count)
        timed(small_job(str(folder / "warm"), str(folder / "warm-out"), folder / "toy"))
        spec = small_job(str(folder / "in"), str(folder / "out"), folder / "toy")
        full_s, full = timed(spec)
        finished_s, again = timed(spec)
        finished_command_s = command_s(folder)
        remove_half(folder / "out")
        half_s, half = timed(spec)
        missing = full.manifest["counts"]["inputs"] - asked.images // 2
        write_images(folder / "missing", missing)
        per_unit = full.manifest["files"][0]["rows"]
        missing_spec = small_job(
            str(folder / "missing"), str(folder / "fresh"), folder / "toy", sink={"images_per_unit": per_unit}
        )
        missing_s, _ = timed(missing_spec)
    assert again.outcome == "already finished"
    assert half.manifest == full.manifest, "a rerun of half of a job must end like the whole one"
    claims = [
        Claim(
            f"a rerun of a finished job of {asked.images:,} images",
            f"under {MAX_FINISHED_S:g} s with the cluster up",
            f"{finished_s:.2f} s in a driver, {finished_command_s:.2f} s as a command",
            max(finished_s, finished_command_s) < MAX_FINISHED_S,
        ),
        Claim(
            f"a rerun of a half-finished job of {asked.images:,} images",
            f"a job of the missing half plus at most {MAX_EXTRA_S:g} s",
            f"{half_s:.2f} s against {missing_s:.2f} s",
            half_s <= missing_s + MAX_EXTRA_S,
        ),
    ]
    seconds = {"full": full_s, "finished": finished_s, "half": half_s, "missing half, fresh": missing_s}
    details = {"images": asked.images, "seconds": {key: round(value, 2) for key, value in seconds.items()}}
    report("resume", claims, details, asked.json)


if __name__ == "__main__":
    main()
