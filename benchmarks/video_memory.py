"""Peak memory of every process that detects and tracks in a video of 2 minutes and in one of 2 hours.

    python benchmarks/video_memory.py [--minutes 2 120] [--json]

`veedor track` runs over one made-up video of 10 small frames a second with a toy model; the longer one is the
shorter one again and again. Processes are looked at as in `memory.py`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
from common import Claim, argument_parser, report
from memory import MAX_GROWTH, MAX_GROWTH_BYTES, MIB, peaks

from cvcore.video.encode import VideoWriter
from tests.corpus import toy_model

FPS = 10
WIDTH, HEIGHT = 160, 120
PIECE_S = 60


def write_piece(path: Path) -> None:
    """A minute of squares that cross the picture."""
    with VideoWriter(path, fps=FPS, width=WIDTH, height=HEIGHT) as writer:
        for index in range(PIECE_S * FPS):
            frame = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
            for lane in range(3):
                left = (index * (2 + lane) + 50 * lane) % (WIDTH - 24)
                frame[10 + 36 * lane : 34 + 36 * lane, left : left + 24] = 250 - 70 * lane
            writer.write(frame)


def repeat(piece: Path, path: Path, times: int) -> None:
    """The same packets again and again, each time later."""
    with av.open(str(path), "w") as out:
        stream = None
        for turn in range(times):
            with av.open(str(piece)) as source:
                video = source.streams.video[0]
                stream = stream or out.add_stream_from_template(video)
                later = round(turn * PIECE_S / video.time_base)
                for packet in source.demux(video):
                    if packet.dts is None:
                        continue
                    packet.pts += later
                    packet.dts += later
                    packet.stream = stream
                    out.mux(packet)


def main() -> None:
    """Run each length and compare."""
    parser = argument_parser("video_memory", __doc__)
    parser.add_argument("--minutes", type=int, nargs=2, default=[2, 120])
    asked = parser.parse_args()
    found: dict[int, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        toy = toy_model(folder / "toy")
        write_piece(folder / "piece.mp4")
        for minutes in (1, *asked.minutes):  # the first leaves what is known of the model in the user's cache
            (folder / "in").mkdir()
            repeat(folder / "piece.mp4", folder / "in" / "film.mp4", minutes * 60 // PIECE_S)
            command = [sys.executable, "-m", "cluster.cli", "track", str(folder / "in"), "--json"]
            command += ["--out", str(folder / f"out-{minutes}"), "--model", toy["name"], "--batch-size", "8"]
            command += ["--weights", toy["weights"], "--labels", toy["labels"], "--max-detections", "10"]
            found[minutes] = peaks(command)
            shutil.rmtree(folder / "in")
    short, long = asked.minutes
    claims = [_claim(kind, short, long, found) for kind in found[short] if kind in found[long]]
    details = {
        str(minutes): {kind: round(size / MIB, 1) for kind, size in kinds.items()}
        for minutes, kinds in found.items()
    }
    report("video_memory", claims, {"peak_mib_by_minutes": details}, asked.json)


def _claim(kind: str, short: int, long: int, found: dict[int, dict[str, int]]) -> Claim:
    before, after = found[short][kind], found[long][kind]
    return Claim(
        f"peak memory, {kind}: a video of {short} / {long} minutes, detected and tracked",
        f"grows by at most {MAX_GROWTH - 1:.0%} or {MAX_GROWTH_BYTES // MIB} MiB",
        f"{before / MIB:.0f} / {after / MIB:.0f} MiB ({after / before - 1:+.0%})",
        after <= before * MAX_GROWTH or after - before <= MAX_GROWTH_BYTES,
    )


if __name__ == "__main__":
    main()
