"""Hundreds of files made to break decoders: each gives its outcome, in bounded time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

from tests.faults.hostile import corpus
from tests.faults.record import record
from tests.runs import ROOT

# Above what the process holds before: a fixed share, and what the pixels of the file itself may take.
BASE_BYTES = 64 * 2**20
BYTES_PER_PIXEL = 24
# Each file takes a second at most on one idle core; test machines are neither idle nor fast.
MOST_SECONDS = 20.0


def test_each_file_has_its_outcome_in_bounded_time_and_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.hostile"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    cases = corpus()
    assert done.returncode == 0, f"ended behind {lines[-1:]}: {done.stderr[-2000:]}"
    assert [line["name"] for line in lines] == [case.name for case in cases]
    assert len(cases) >= 200
    for case, line in zip(cases, lines, strict=True):
        assert line["outcome"] in case.outcomes, line
        assert line["risen_bytes"] <= BASE_BYTES + BYTES_PER_PIXEL * case.pixels, line
        assert line["seconds"] <= MOST_SECONDS, line
    slowest, largest = (max(lines, key=lambda line: line[key]) for key in ("seconds", "risen_bytes"))
    outcomes = Counter(line["outcome"] for line in lines)
    record(
        "hostile files, decoded",
        attack="bombs, cuts, wrong lengths, polyglots, garbage metadata",
        trials=len(cases),
        differences=0,
        outcomes=", ".join(f"{code} {n}" for code, n in outcomes.most_common()),
        slowest=f"{slowest['name']} {slowest['seconds']:.1f} s",
        most_memory=f"{largest['name']} {largest['risen_bytes'] / 2**20:.0f} MiB",
        bound=f"{BASE_BYTES >> 20} MiB + {BYTES_PER_PIXEL} bytes a pixel",
    )
