"""Whether this machine's libraries read every format that jobs take: each is written and read back."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Final

import av
from PIL import Image

from cluster.doctor.finding import Finding, ok, problem
from cvcore.errors import ImageError
from cvcore.image.decode import open_image
from cvcore.image.limits import FORMATS

AREA: Final = "codecs"
VIDEO_CODECS: Final = ("h264", "hevc", "vp9", "av1", "mjpeg", "mpeg4")
CONTAINERS: Final = ("mov", "matroska", "avi")
REINSTALL: Final = "install veedor's own versions: pip install --force-reinstall --constraint constraints.txt"


def check_codecs() -> Iterator[Finding]:
    """Pictures by Pillow, videos by PyAV's FFmpeg."""
    yield from judge_pictures({name: _reads(name) for name in FORMATS})
    lacking = [name for name in VIDEO_CODECS if not _decodes(name)]
    lacking += [name for name in CONTAINERS if not _opens(name)]
    yield from judge_videos(lacking, version=av.__version__)


def judge_pictures(readable: dict[str, bool]) -> Iterator[Finding]:
    """`readable`: by format, whether a picture of it came back."""
    lacking = [name for name, reads in readable.items() if not reads]
    if lacking:
        yield problem(AREA, f"Pillow does not read {', '.join(lacking)}", f"{REINSTALL} pillow")
    else:
        yield ok(AREA, f"pictures: {', '.join(readable)}")


def judge_videos(lacking: list[str], *, version: str) -> Iterator[Finding]:
    """`lacking`: codecs and containers that FFmpeg was built without."""
    if lacking:
        yield problem(AREA, f"PyAV {version} does not read {', '.join(lacking)}", f"{REINSTALL} av")
    else:
        yield ok(AREA, f"videos: {', '.join(VIDEO_CODECS)} in {', '.join(CONTAINERS)}")


def _reads(name: str) -> bool:
    """Whether a picture of the format comes back as large as it was."""
    picture = io.BytesIO()
    try:
        Image.new("RGB", (24, 16), (90, 120, 200)).save(picture, format=name)
        return open_image(picture.getvalue()).size == (24, 16)
    except (KeyError, OSError, ImageError):
        return False


def _decodes(name: str) -> bool:
    try:
        return not av.Codec(name, "r").is_encoder
    except (av.FFmpegError, ValueError):
        return False


def _opens(name: str) -> bool:
    try:
        return av.ContainerFormat(name, "r").is_input
    except (av.FFmpegError, ValueError):
        return False
