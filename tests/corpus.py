"""Small images, good and bad in known ways, and a toy detector to run over them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cvcore.darknet.detector import DarknetDetector
from cvcore.darknet.weights import write_weights

TOY_LABELS = ("bright", "dark", "red")
TOY_CFG = """\
[net]
width=64
height=64
channels=3

[convolutional]
batch_normalize=1
filters=8
size=3
stride=4
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=16
size=3
stride=4
pad=1
activation=leaky

[convolutional]
filters=24
size=1
stride=1
pad=1
activation=linear

[yolo]
mask=0,1,2
anchors=8,8, 16,16, 32,32
classes=3
num=3
"""

GOOD_FORMATS = (
    ("jpg", "JPEG"),
    ("png", "PNG"),
    ("webp", "WEBP"),
    ("gif", "GIF"),
    ("bmp", "BMP"),
    ("tif", "TIFF"),
)
MAX_BYTES = 40_000


def good_image(seed: int, image_format: str = "JPEG") -> bytes:
    """A little picture of soft noise, its size and content by seed."""
    rng = np.random.default_rng(seed)
    width, height = (int(v) for v in rng.integers(24, 120, 2))
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return encode(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), image_format)


def encode(image: Image.Image, image_format: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format)
    return buffer.getvalue()


def good_name(index: int) -> tuple[str, str]:
    """A file name and the format to write, cycling through all formats."""
    extension, image_format = GOOD_FORMATS[index % len(GOOD_FORMATS)]
    return f"good-{index:04d}.{extension}", image_format


def huge_header() -> bytes:
    """A PNG whose header promises ten gigapixels, followed by next to nothing."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, body) for kind, body in chunks)


def corrupt_png(seed: int) -> bytes:
    """A PNG whose pixel data is no zlib stream, its checksums right."""
    header = struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", bytes([seed % 256]) * 400), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, body) for kind, body in chunks)


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _truncated(seed: int) -> bytes:
    whole = good_image(seed)
    return whole[: len(whole) * 6 // 10]


def _too_many_bytes(seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    return encode(Image.fromarray(noise), "BMP")


# Error code -> extension and the bytes that must give it. `missing` and `changed` are good when planned.
BAD_KINDS: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "empty": ("jpg", lambda _: b""),
    "truncated": ("jpg", _truncated),
    "not_an_image": ("jpg", lambda seed: b"these are the notes of day %d\n" % seed * 9),
    "extension_mismatch": ("jpg", lambda seed: good_image(seed, "PNG")),
    "too_large": ("png", lambda _: huge_header()),
    "unsupported_mode": ("tif", lambda _: encode(Image.new("F", (20, 20), 0.5), "TIFF")),
    "corrupt": ("png", corrupt_png),
    "too_many_bytes": ("bmp", _too_many_bytes),
    "missing": ("jpg", good_image),
    "changed": ("jpg", good_image),
}


def toy_model(folder: Path, *, seed: int = 0) -> dict[str, str]:
    """Write a toy detector's `.cfg`, weights and labels; returns the spec's `model` section.

    Random weights of a seed, so it finds nonsense, but the same nonsense every time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    detector = DarknetDetector.from_cfg(TOY_CFG, labels=TOY_LABELS)
    for parameter in detector.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    paths = {"name": folder / "toy.cfg", "weights": folder / "toy.weights", "labels": folder / "toy.names"}
    paths["name"].write_text(TOY_CFG)
    paths["weights"].write_bytes(write_weights(detector.network))
    paths["labels"].write_text("\n".join(TOY_LABELS) + "\n")
    return {key: str(path) for key, path in paths.items()}
