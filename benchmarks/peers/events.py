"""What a benchmarked system leaves while it works: a line for each batch, and the rate they amount to."""

from __future__ import annotations

import os
import time
from pathlib import Path


def note(folder: str, rows: int) -> None:
    """Append that this process has just finished `rows` inputs."""
    with Path(folder, f"{os.getpid()}.events").open("a") as file:
        file.write(f"{time.time():.6f} {rows}\n")


def read(folder: Path) -> list[tuple[float, int]]:
    """All noted (time, rows), in time order."""
    lines = [line.split() for path in folder.glob("*.events") for line in path.read_text().splitlines()]
    return sorted((float(at), int(rows)) for at, rows in lines)


def steady_rate(events: list[tuple[float, int]], *, workers: int) -> float:
    """Inputs a second from when each worker has finished something until the last has finished all."""
    since = events[workers - 1][0]
    return sum(rows for _, rows in events[workers:]) / (events[-1][0] - since)
