"""Peak memory of every process of a job at 500, 5,000 and 50,000 images.

    python benchmarks/memory.py [--images 500 5000 50000] [--json]

`veedor annotate` runs over small pictures with a toy model. A few times a second each of its processes is
looked at: its own memory is what is resident less what is shared through the object store; the object store
is what of it the raylet has touched. A kind of process counts by its largest one. A first job that is not
looked at leaves what is known of the model in the user's cache: finding it out takes torch.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from common import ROOT, Claim, argument_parser, report
from small_jobs import write_images

from tests.corpus import toy_model

INTERVAL_S = 0.15
MIB = 2**20
MAX_GROWTH = 1.10
MAX_GROWTH_BYTES = 8 * MIB  # a tenth of a small process is noise
WARM_UP_IMAGES = 16
TITLES = (
    (r"cluster\.cli", "driver"),
    (r"ray::.*MapWorker", "actor"),
    (r"ray::.*Board", "board"),
    (r"ray::(?!IDLE)", "task"),
    (r"raylet/raylet", "raylet"),
    (r"gcs_server", "cluster's store of state"),
)


def peaks(command: list[str]) -> dict[str, int]:
    """Run a command; bytes at the highest of each kind of process below it, and of the object store."""
    highest: defaultdict[str, int] = defaultdict(int)
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        for pid in descendants(process.pid):
            looked = look(pid)
            if looked is None:
                continue
            kind, own, shared = looked
            highest[kind] = max(highest[kind], own)
            if kind == "raylet":
                highest["object store"] = max(highest["object store"], shared)
        time.sleep(INTERVAL_S)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return dict(highest)


def descendants(root: int) -> list[int]:
    """A process and all below it."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        children[int(text.rpartition(")")[2].split()[1])].append(int(stat.parent.name))
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting += children[found[-1]]
    return found


def look(pid: int) -> tuple[str, int, int] | None:
    """A process's kind, its own bytes, and its shared ones; None for other kinds and what has gone."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    kind = next((name for pattern, name in TITLES if re.search(pattern, title)), None)
    sizes = {
        key: int(size) * 1024 for key, size in re.findall(r"^(Rss\w+):\s+(\d+) kB", status, re.MULTILINE)
    }
    if kind is None or not sizes:
        return None
    return kind, sizes["RssAnon"] + sizes["RssFile"], sizes["RssShmem"]


def main() -> None:
    """Run each size and compare."""
    parser = argument_parser("memory", __doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[500, 5000, 50_000])
    asked = parser.parse_args()
    found: dict[int, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        toy = toy_model(folder / "toy")
        for count in (WARM_UP_IMAGES, *asked.images):
            write_images(folder / f"in-{count}", count)
            command = [sys.executable, "-m", "cluster.cli", "annotate", str(folder / f"in-{count}"), "--json"]
            command += ["--out", str(folder / f"out-{count}"), "--model", toy["name"], "--batch-size", "8"]
            command += ["--weights", toy["weights"], "--labels", toy["labels"]]
            found[count] = peaks(command)
    del found[WARM_UP_IMAGES]
    claims = [_claim(kind, found) for kind in found[min(found)]]
    details = {
        str(count): {kind: round(size / MIB, 1) for kind, size in kinds.items()}
        for count, kinds in found.items()
    }
    report("memory", claims, {"peak_mib": details}, asked.json)


def _claim(kind: str, found: dict[int, dict[str, int]]) -> Claim:
    sizes = [kinds[kind] for _, kinds in sorted(found.items())]
    growth = sizes[-1] / sizes[0]
    return Claim(
        f"peak memory, {kind}: {' / '.join(f'{count:,}' for count in sorted(found))} images",
        f"grows by at most {MAX_GROWTH - 1:.0%} or {MAX_GROWTH_BYTES // MIB} MiB",
        f"{' / '.join(f'{size / MIB:.0f}' for size in sizes)} MiB ({growth - 1:+.0%})",
        growth <= MAX_GROWTH or sizes[-1] - sizes[0] <= MAX_GROWTH_BYTES,
    )


if __name__ == "__main__":
    main()
