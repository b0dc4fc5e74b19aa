"""Small clips of every codec and container, made here, and what ffprobe says of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

WIDTH, HEIGHT = 128, 96
os.environ.setdefault("SVT_LOG", "1")
ENCODERS = {
    "h264": (
        "libx264",
        {"preset": "veryfast", "x264-params": "keyint=12:min-keyint=12:scenecut=0:bframes=2"},
    ),
    "hevc": (
        "libx265",
        {"preset": "ultrafast", "x265-params": "keyint=12:min-keyint=12:bframes=2:log-level=none"},
    ),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "g": "12"}),
    "av1": ("libsvtav1", {"preset": "12", "g": "12", "svtav1-params": "lp=1"}),
    "mjpeg": ("mjpeg", {}),
}
CONTAINERS = {
    "mp4": ("h264", "hevc", "vp9", "av1", "mjpeg"),
    "mov": ("h264", "hevc", "mjpeg"),
    "mkv": ("h264", "hevc", "vp9", "av1", "mjpeg"),
    "webm": ("vp9", "av1"),
    "avi": ("h264", "mjpeg"),
}
PAIRS = [(codec, container) for container, codecs in CONTAINERS.items() for codec in codecs]
_FORMATS = {"mkv": "matroska", "ts": "mpegts"}


def picture(index: int, *, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A frame that tells its index: a bright square that moves over a gradient, (H, W, 3) uint8."""
    rows, columns = np.mgrid[0:height, 0:width]
    image = np.stack(
        [columns * 200 // width, rows * 200 // height, np.full_like(rows, index * 7 % 200)], axis=-1
    ).astype(np.uint8)
    top, left = index * 5 % (height - 24), index * 11 % (width - 24)
    image[top : top + 24, left : left + 24] = (240, 220, 30)
    return image


def make_clip(
    codec: str = "h264",
    container: str = "mp4",
    *,
    num_frames: int = 40,
    pts: list[int] | None = None,
    time_base: Fraction = Fraction(1, 600),
    size: tuple[int, int] = (WIDTH, HEIGHT),
    params: dict[str, str] | None = None,
    pix_fmt: str | None = None,
    rotation: int = 0,
    audio: bool = False,
    muxer: dict[str, str] | None = None,
) -> bytes:
    """Encode `num_frames` pictures; `pts` in `time_base` are the times, else 25 frames a second.

    `params` are more options of the encoder, `muxer` those of the container.
    """
    encoder, options = ENCODERS[codec]
    if container == "avi" and codec == "h264":
        options = options | {"x264-params": "keyint=12:min-keyint=12:scenecut=0:bframes=0"}
    options = options | (params or {})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"clip.{container}")
        with av.open(
            str(path), "w", format=_FORMATS.get(container, container), options=muxer or {}
        ) as output:
            _encode(output, encoder, options, num_frames, pts, time_base, size, pix_fmt, rotation, audio)
        return path.read_bytes()


def _encode(
    output: av.container.OutputContainer,
    encoder: str,
    options: dict[str, str],
    num_frames: int,
    pts: list[int] | None,
    time_base: Fraction,
    size: tuple[int, int],
    pix_fmt: str | None,
    rotation: int,
    audio: bool,
) -> None:
    stream = output.add_stream(encoder, rate=25, options=options)
    stream.width, stream.height = size
    stream.pix_fmt = pix_fmt or ("yuvj420p" if encoder == "mjpeg" else "yuv420p")
    stream.codec_context.thread_count = 1
    stream.codec_context.time_base = Fraction(1, 25) if pts is None else time_base
    if rotation:
        stream.set_display_rotation(rotation)
    sound = output.add_stream("aac", rate=16000, layout="mono") if audio else None
    for index in range(num_frames):
        frame = av.VideoFrame.from_ndarray(picture(index, width=size[0], height=size[1]), format="rgb24")
        frame.pts = index if pts is None else pts[index]
        frame.time_base = stream.codec_context.time_base
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))
    if sound is not None:
        output.mux(sound.encode(silence()))
        output.mux(sound.encode(None))


def silence() -> av.AudioFrame:
    """A second of it."""
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
    frame.sample_rate, frame.pts = 16000, 0
    return frame


def probe_times(data: bytes, path: Path, *, stream: str = "v:0") -> list[float]:
    """Presentation times, seconds, of all frames as ffprobe decodes them; skips where it is absent."""
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not installed (ffmpeg)")
    path.write_bytes(data)
    command = ["ffprobe", "-v", "error", "-select_streams", stream, "-of", "json", "-show_entries"]
    command += ["frame=pts_time,best_effort_timestamp_time", str(path)]
    found = subprocess.run(command, capture_output=True, check=True)
    frames = json.loads(found.stdout)["frames"]
    return [float(frame.get("pts_time", frame.get("best_effort_timestamp_time"))) for frame in frames]
