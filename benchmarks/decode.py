"""Decoding whole videos onto a 320x320 canvas against bare torchcodec, and against reading frame by frame.

    python benchmarks/decode.py [--rounds 5] [--json]

All use one thread, read the file's first stream and keep nothing. torchcodec resizes while it decodes, to the
size at which the frame lies on the canvas, and draws no canvas; of iterating and of reading ranges of frames
the faster counts, for each video. Frame by frame stands for Ray Data's `read_videos`, which takes each frame
at its full size from decord; decord is no longer maintained, so OpenCV's reader is in its place, and resizes
with OpenCV. Each reader runs in a process of its own, since each brings its own FFmpeg; they take turns, and
the best round of each video counts.

torchcodec is kept apart: pip install --no-deps --target .venv/video_peers -r benchmarks/peers/video_peers.txt
It loads the system's FFmpeg libraries.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from common import Claim, argument_parser, report

from cvcore.image.fit import plan_fit
from cvcore.types import InputSpec
from cvcore.video.decode import decode_segment
from cvcore.video.sample import Sampling, sample_frames
from cvcore.video.scan import scan_video
from cvcore.video.segments import cut_segments
from tests.data import shared_data

MIN_RATIO = 0.9
SPEC = InputSpec(320, 320)
VIDEOS = ("bottle-detection.mp4", "car-detection.mp4", "nasa_13013.mp4")
STREAM = 0
SEGMENT_FRAMES = 256
RANGE_FRAMES = 64
PEERS = Path(sys.prefix) / "video_peers"


def read_whole(path: Path) -> int:
    """One segment a video."""
    return _read_segments(path, max_frames=10**9)


def read_segments(path: Path) -> int:
    """As jobs do: in segments, each opened and sought anew."""
    return _read_segments(path, max_frames=SEGMENT_FRAMES)


def _read_segments(path: Path, *, max_frames: int) -> int:
    with path.open("rb") as file:
        scan = scan_video(file, stream=STREAM)
        count = 0
        for segment in cut_segments(scan, sample_frames(scan, Sampling()), max_frames=max_frames):
            frames = decode_segment(
                file,
                stream=scan.stream,
                frame_indices=segment.frame_indices.tolist(),
                pts=segment.pts.tolist(),
                spec=SPEC,
            )
            count += sum(frame.canvas is not None for frame in frames)
    return count


def read_torchcodec(path: Path) -> int:
    """Iterating over the decoder."""
    return sum(1 for _ in _torchcodec(path))


def read_torchcodec_ranges(path: Path) -> int:
    """Ranges of frames, each a batch."""
    decoder = _torchcodec(path)
    starts = range(0, len(decoder), RANGE_FRAMES)
    return sum(len(decoder.get_frames_in_range(at, min(len(decoder), at + RANGE_FRAMES))) for at in starts)


def _torchcodec(path: Path) -> Any:
    sys.path.append(str(PEERS))
    import torch
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    torch.set_num_threads(1)
    with path.open("rb") as file:
        scan = scan_video(file, stream=STREAM)
    fit = plan_fit(scan.height, scan.width, SPEC)
    resize = Resize((fit.content_height, fit.content_width))
    return VideoDecoder(
        path, stream_index=scan.stream, num_ffmpeg_threads=1, dimension_order="NHWC", transforms=[resize]
    )


def read_opencv(path: Path) -> int:
    """Each frame at full size, then resized."""
    import cv2

    cv2.setNumThreads(1)
    reader = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    width, height = (int(reader.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    fit = plan_fit(height, width, SPEC)
    count = 0
    while (found := reader.read())[0]:
        rgb = cv2.cvtColor(found[1], cv2.COLOR_BGR2RGB)
        cv2.resize(rgb, (fit.content_width, fit.content_height), interpolation=cv2.INTER_AREA)
        count += 1
    return count


READERS: dict[str, Callable[[Path], int]] = {
    "whole": read_whole,
    "segments": read_segments,
    "torchcodec": read_torchcodec,
    "torchcodec ranges": read_torchcodec_ranges,
    "frame by frame": read_opencv,
}


def timed(reader: str, path: Path) -> tuple[int, float]:
    """Frames and seconds of one reading."""
    started = time.perf_counter()
    count = READERS[reader](path)
    return count, time.perf_counter() - started


def measure(paths: list[Path], num_rounds: int) -> dict[str, dict[str, float]]:
    """Frames a second of each reader and video: the best round."""
    best: dict[str, dict[str, float]] = {reader: {} for reader in READERS}
    context = get_context("spawn")
    pools = {reader: ProcessPoolExecutor(1, mp_context=context) for reader in READERS}
    try:
        for number in range(num_rounds + 1):  # the first loads libraries
            for path in paths:
                counts = set()
                for reader, pool in pools.items():
                    count, seconds = pool.submit(timed, reader, path).result()
                    counts.add(count)
                    if number:
                        best[reader][path.name] = max(best[reader].get(path.name, 0.0), count / seconds)
                assert len(counts) == 1, f"the readers of {path.name} differ in frames: {counts}"
    finally:
        for pool in pools.values():
            pool.shutdown()
    return best


def main() -> None:
    """Read all videos in all ways, and compare."""
    parser = argument_parser("decode", __doc__)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    if not PEERS.exists():
        parser.error(
            f"{PEERS} is missing; pip install --no-deps --target {PEERS} -r benchmarks/peers/video_peers.txt"
        )
    rates = measure([shared_data("video", name) for name in VIDEOS], asked.rounds)
    claims = []
    for name in VIDEOS:
        peer = max(rates["torchcodec"][name], rates["torchcodec ranges"][name])
        ours, by_frame = rates["whole"][name], rates["frame by frame"][name]
        claims.append(
            Claim(
                f"decoding {name} onto a 320x320 canvas, against torchcodec with one thread",
                f"at least {MIN_RATIO:g} times as fast",
                f"{ours / peer:.2f} times ({ours:.0f} frames/s against {peer:.0f})",
                ours / peer >= MIN_RATIO,
            )
        )
        claims.append(
            Claim(
                f"decoding {name} in segments of up to {SEGMENT_FRAMES} frames, against frame by frame",
                "",
                f"{rates['segments'][name] / by_frame:.2f} times ({rates['segments'][name]:.0f} frames/s "
                f"against {by_frame:.0f})",
            )
        )
    rounded = {
        reader: {name: round(rate, 1) for name, rate in found.items()} for reader, found in rates.items()
    }
    report("decode", claims, {"frames_per_s": rounded, "rounds": asked.rounds}, asked.json)


if __name__ == "__main__":
    main()
