"""What the benchmarks share: claims with their targets, the hardware's name, and where results are kept.

A benchmark prints its result and, asked with `--json`, keeps it as `docs/benchmarks/<name>.json`:

    {"name": ..., "hardware": ..., "claims": [{"claim", "target", "measured", "met"}], "details": {...}}

`benchmarks/table.py` makes `docs/benchmarks.md` of those files.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "benchmarks"

sys.path.append(str(ROOT))  # scripts are started by their path: this lets them import `tests`


@dataclass(frozen=True)
class Claim:
    """One line of the table.

    Attributes:
        claim: what is said of the system.
        target: what was asked for, as text; empty where a figure is only reported.
        measured: what was found, as text with units.
        met: whether the target was reached; None where there is none.
    """

    claim: str
    target: str
    measured: str
    met: bool | None = None


def argument_parser(name: str, doc: str) -> argparse.ArgumentParser:
    """A parser that knows `--json [FILE]`; without FILE it is this benchmark's place in `docs/benchmarks`."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument(
        "--json", type=Path, nargs="?", const=RESULTS / f"{name}.json", help="keep the result as JSON"
    )
    return parser


def hardware() -> str:
    """This machine in one line."""
    return f"{os.cpu_count()} cores ({_processor()}), {_memory_gib():.0f} GiB, {platform.system()}"


def report(name: str, claims: list[Claim], details: dict[str, Any], path: Path | None) -> None:
    """Print a benchmark's result, and write it to `path` if there is one."""
    content = {
        "name": name,
        "hardware": hardware(),
        "claims": [asdict(claim) for claim in claims],
        "details": details,
    }
    text = json.dumps(content, indent=1) + "\n"
    sys.stdout.write(text)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def earlier(path: Path | None, recipes: dict[str, Any]) -> dict[str, Any]:
    """Of the details that the file at `path` holds by name, those whose "recipe" is still that name's."""
    if path is None or not path.exists():
        return {}
    found = json.loads(path.read_text())["details"]
    now = json.loads(json.dumps(recipes))
    return {name: each for name, each in found.items() if now.get(name) == each["recipe"]}


def in_turns(
    runs: Mapping[str, Callable[[], Any]], *, rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median seconds of each run by its name; all are run once before anything counts."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            began = clock()
            run()
            if number:
                seconds[name].append(clock() - began)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def peak_rss_bytes() -> int:
    """The most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _processor() -> str:
    """The processor's model where the system names it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models and models[0] != "unknown" else platform.machine()


def _memory_gib() -> float:
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
