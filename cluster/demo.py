"""`make demo`: the main jobs on sample scenes, with the commands that a user would type."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from cluster.cli import app

NUM_SCENES = 200
NUM_VIDEOS = 2
NUM_NORMALS, NUM_CALIBRATION = 320, 100
EPOCHS = 40
# Far from the seeds that the shipped detector was trained and selected on.
SEED = 900_000


def demo_commands(folder: Path) -> list[list[str]]:
    """The demo's commands, in order."""
    scenes, run = folder / "scenes", folder / "annotations"
    moving, tracks = folder / "videos", folder / "tracks"
    station, others, model, scans = (
        folder / name for name in ("inspection", "inspection-held-out", "inspection-model", "scans")
    )
    small = ["--input-size", "96", "--width", "16", "--latent-size", "64", "--epochs", str(EPOCHS)]
    return [
        ["scenes", str(scenes), "--num", str(NUM_SCENES), "--seed", str(SEED)],
        ["annotate", str(scenes / "images"), "--model", "tiny_masks", "--out", str(run)],
        ["evaluate", str(run), "--truth", str(scenes / "annotations.json")],
        ["report", str(run)],
        ["scenes", str(moving), "--video", "--num", str(NUM_VIDEOS), "--seed", str(SEED)],
        ["track", str(moving / "videos"), "--interpolate-gap", "10", "--out", str(tracks)],
        ["evaluate", str(tracks), "--truth", str(moving / "truth")],
        ["report", str(tracks)],
        ["scenes", str(station), "--defects", "--num", str(NUM_NORMALS), "--seed", str(SEED)],
        ["scenes", str(others), "--defects", "--num", str(NUM_CALIBRATION), "--seed", str(SEED + 10_000)],
        ["train", str(station / "train"), "--model", "conv_autoencoder", *small, "--out", str(model)],
        ["calibrate", f"{model}/", "--normal", str(others / "train"), "--target-fpr", "0.02"],
        ["scan", str(station / "test"), "--model", f"{model}/", "--heatmap-score", "0", "--out", str(scans)],
        ["evaluate", str(scans), "--truth", str(station)],
        ["report", str(scans)],
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
