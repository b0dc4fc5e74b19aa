"""From the command to the first row: where the seconds go, and what was removed.

    python benchmarks/startup.py [--runs 3] [--before CHECKOUT] [--json [FILE]]

Runs `veedor annotate` over a few images with the shipped detector and dates the steps by what it prints and
by the files that it makes. With `--before`, another checkout is measured in turn, for the ratio.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from common import ROOT, Claim, argument_parser, report

from cvcore.scenes.coco import write_scenes

NUM_IMAGES = 64
POLL_S = 0.05
MARK = "VEEDOR_STARTUP_PROBE"


def run_once(code: Path, images: Path, folder: Path, *, home: Path | None = None) -> dict[str, Any]:
    """One run of a checkout: seconds from the command to each step, and CPU seconds until the first row."""
    out = folder / "out"
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    environment = {**os.environ, "PYTHONPATH": str(code), MARK: mark}
    if home is not None:
        environment["HOME"] = str(home)
    command = [sys.executable, "-m", "cluster.cli", "annotate", str(images), "--out", str(out), "--json"]
    started = time.time()
    steps: dict[str, float] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=code) as process:
        cpu = _CpuWatch(mark, until=lambda: bool(list((out / "data").glob("part-*"))))
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "step":
                steps.setdefault(event["text"].split()[0].lower(), time.time() - started)
    assert process.returncode == 0, "the run failed"
    claimed = (out / "_veedor" / "job.json").stat().st_mtime - started
    (tuned,) = (path.stat().st_mtime for path in (out / "_veedor").glob("tuning-*"))
    first = min(path.stat().st_mtime for path in (out / "data").iterdir())
    return {
        "first_row_s": round(first - started, 2),
        "steps_s": {
            "command read, listing begins": round(steps["listing"], 2),
            "cluster up, plan made, folder claimed": round(claimed, 2),
            "first actor: model loaded, batch size measured": round(tuned - started, 2),
            "first rows published": round(first - started, 2),
        },
        "cpu_s": cpu.result(),
    }


class _CpuWatch:
    """CPU seconds of all processes of a run, by what they are, until something is so."""

    def __init__(self, mark: str, *, until: Any) -> None:
        self._mark = f"{MARK}={mark}".encode()
        self._until = until
        self._seen: dict[str, tuple[str, float]] = {}
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def result(self) -> dict[str, float]:
        self._thread.join(timeout=120)
        sums: dict[str, float] = {}
        for name, seconds in self._seen.values():
            sums[name] = sums.get(name, 0.0) + seconds
        ranked = sorted(sums.items(), key=lambda item: -item[1])
        return {"all": round(sum(sums.values()), 2), **{name: round(s, 2) for name, s in ranked}}

    def _watch(self) -> None:
        while not self._until():
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    self._look(entry)
            time.sleep(POLL_S)

    def _look(self, entry: Path) -> None:
        try:
            if self._mark not in (entry / "environ").read_bytes().split(b"\0"):
                return
            command = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            return
        seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        if command.strip():
            self._seen[entry.name] = (_short(command), seconds)


def _short(command: str) -> str:
    if command.startswith("ray::"):
        return command.split("(")[0].split()[0]
    for known in (
        "cluster.cli",
        "gcs_server",
        "raylet",
        "dashboard.py",
        "monitor.py",
        "log_monitor",
        "agent",
    ):
        if known in command:
            return known
    return "other worker" if "default_worker" in command else "other"


def main() -> None:
    """Measure this checkout, and another in turn where one is named."""
    parser = argument_parser("startup", __doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--before", type=Path)
    asked = parser.parse_args()
    codes = {"now": ROOT} | ({"before": asked.before.resolve()} if asked.before else {})
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in codes}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        write_scenes(scratch / "scenes", num_scenes=NUM_IMAGES, seed=710_000)
        images = scratch / "scenes" / "images"
        new_home = scratch / "home"
        new_home.mkdir()
        fresh = run_once(ROOT, images, scratch / "fresh", home=new_home)
        for index in range(asked.runs):
            for key, code in codes.items():
                runs[key].append(run_once(code, images, scratch / f"{key}-{index}"))
    best = {key: min(found, key=lambda run: run["first_row_s"]) for key, found in runs.items()}
    seconds = best["now"]["first_row_s"]
    claims = [Claim("from the command to the first row, embedded cluster", "", f"{seconds:.1f} s")]
    claims.append(Claim("the same, a model never used before", "", f"{fresh['first_row_s']:.1f} s"))
    if "before" in best:
        ratio = seconds / best["before"]["first_row_s"]
        text = f"{ratio:.2f} ({seconds:.1f} / {best['before']['first_row_s']:.1f} s)"
        claims.append(Claim("start-up now ÷ before it was looked at", "≤ 0.5", text, ratio <= 0.5))
    report("startup", claims, {"best": best, "model_never_used": fresh}, asked.json)


if __name__ == "__main__":
    main()
