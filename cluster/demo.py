"""`make demo`: the main jobs on sample scenes, with the commands that a user would type."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from cluster.cli import app

NUM_SCENES = 200
NUM_VIDEOS = 2
# Far from the seeds that the shipped detector was trained and selected on.
SEED = 900_000


def demo_commands(folder: Path) -> list[list[str]]:
    """The demo's commands, in order."""
    scenes, run = folder / "scenes", folder / "annotations"
    moving, tracks = folder / "videos", folder / "tracks"
    return [
        ["scenes", str(scenes), "--num", str(NUM_SCENES), "--seed", str(SEED)],
        ["annotate", str(scenes / "images"), "--out", str(run)],
        ["evaluate", str(run), "--truth", str(scenes / "annotations.json")],
        ["report", str(run)],
        ["scenes", str(moving), "--video", "--num", str(NUM_VIDEOS), "--seed", str(SEED)],
        ["track", str(moving / "videos"), "--interpolate-gap", "10", "--out", str(tracks)],
        ["evaluate", str(tracks), "--truth", str(moving / "truth")],
        ["report", str(tracks)],
    ]


def main() -> None:
    """Run the demo in the folder named on the command line."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    for command in demo_commands(folder):
        sys.stdout.write(f"\n$ veedor {shlex.join(command)}\n")
        sys.stdout.flush()
        code = app(command, prog_name="veedor", standalone_mode=False)
        if code:
            sys.exit(code)


if __name__ == "__main__":
    main()
