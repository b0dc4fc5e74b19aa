"""What images are called in an export: their path below the run's source."""

from __future__ import annotations

from urllib.parse import quote

from cvcore.datasets.files import inner_name
from jobs.storage import base_name, name_below


def image_name(uri: str, frame_index: int | None, source: str) -> str:
    """The name of an image, or of a video's frame: `<video>/frame_000012.jpg`.

    A path of plain names, whatever the location holds: what may lead elsewhere is percent-encoded.
    """
    name = plain_name(uri, source)
    return name if frame_index is None else f"{name}/frame_{frame_index:06d}.jpg"


def plain_name(uri: str, source: str) -> str:
    """The name of an image or a video as a whole."""
    below = name_below(uri, source)
    if uri == source:
        below = base_name(uri)
    elif below == uri:
        below = uri.removeprefix("s3://").removeprefix("file://").lstrip("/")
    is_plain = inner_name(below) == below and below.isprintable()
    return below if is_plain else "/".join(map(_quoted, below.split("/")))


def _quoted(part: str) -> str:
    return part.replace(".", "%2E") or "%2F" if part in ("", ".", "..") else quote(part, safe=" ")
